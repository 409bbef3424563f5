"""An Iceberg REST catalog, as far as readers without Spark need it: where each table's metadata lie."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from im2gps_spark.errors import UsageError
from im2gps_spark.store.settings import S3Settings

_TIMEOUT_S = 20.0


def metadata_files(catalog: str, warehouse: str, namespace: str, signing: str, s3: S3Settings) -> dict[str, str]:
    """The metadata file of each table of a namespace, by the table's name.

    The requests are those of the Iceberg REST Catalog API.

    Args:
        catalog: URL.
        warehouse: the catalog's name for it.
        signing: the service that requests are signed for, with credentials of the standard chain; none if empty.
        s3: the region.

    Raises:
        UsageError: the catalog can't be asked.
    """

    def ask(path: str) -> Any:
        url = f"{catalog.rstrip('/')}/v1/{path}"
        request = Request(url, headers=_signature(url, signing, s3.region) if signing else {})  # noqa: S310 - see below
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - a URL of the user's own configuration
                return json.load(answer)
        except (HTTPError, URLError, OSError, ValueError) as error:
            raise UsageError(
                f"tables.catalog: {url} can't be asked ({error}); mend tables.catalog, tables.warehouse, "
                "tables.signing or the credentials in the environment"
            ) from error

    config = ask(f"config?warehouse={quote(warehouse, safe='')}")
    prefix = {**config.get("defaults", {}), **config.get("overrides", {})}.get("prefix", "")
    tables = f"{quote(prefix)}/namespaces/{namespace}/tables" if prefix else f"namespaces/{namespace}/tables"
    names = [entry["name"] for entry in ask(tables).get("identifiers", [])]
    return {name: ask(f"{tables}/{quote(name)}")["metadata-location"] for name in names}


def _signature(url: str, service: str, region: str) -> dict[str, str]:
    import boto3
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise UsageError("tables.signing: there are no credentials in the environment, a profile or a role")
    request = AWSRequest("GET", url)
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers)
