# Every target does all of its own set-up, once. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
DEMO ?= demo
VENV := .venv
BIN := $(VENV)/bin
# Made by set-up when it is through; newer than what it was made from means: nothing to do.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-s3 demo-cluster test lint format bench clean java python

help:  ## this list
	@echo "im2gps-spark: where on Earth was a photo taken?"
	@echo
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "  make demo DEMO=DIR                    writes to another folder than demo/"
	@echo "  make demo PHOTOS=DIR METADATA=FILE    your own photos, with metadata in YFCC100M's columns"

demo: setup  ## sample photos -> tables -> index -> maps: ends with a page to open
	@$(BIN)/im2gps demo "$(DEMO)" $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(METADATA),--metadata "$(METADATA)")

demo-s3: DEMO = demo-s3
demo-s3: setup  ## the same, with photos, index and tables in an S3 server that it starts and stops
	@$(BIN)/im2gps demo "$(DEMO)" --where s3 $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(METADATA),--metadata "$(METADATA)")

demo-cluster: DEMO = demo-cluster
demo-cluster: setup  ## the same there, on a Spark cluster of a master and two workers that it starts and stops
	@$(BIN)/im2gps demo "$(DEMO)" --where cluster $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(METADATA),--metadata "$(METADATA)")

test: setup  ## all tests: pure ones first, then one shared Spark session
	@$(BIN)/python -m pytest -q

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: setup  ## rewrites the code in the project's style
	@$(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format .

bench: setup  ## all benchmarks, into benchmarks/results; make bench-NAME runs one
	@for file in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

bench-%: setup
	@$(BIN)/python -m benchmarks.bench_$*

clean:  ## removes the virtual environment and the demo
	rm -rf $(VENV) demo demo-s3 demo-cluster

setup: java python $(READY)  ## virtual environment, packages, Java libraries; each of the others calls it

java:
	@version=$$("$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p'); \
	case "$$version" in \
	  17|21) ;; \
	  "") echo "im2gps: no Java found: install Java 17 or 21 and put it on the PATH or in JAVA_HOME" >&2; exit 1 ;; \
	  *) echo "im2gps: Java $$version found, Spark needs 17 or 21: install one and set JAVA_HOME to it" >&2; exit 1 ;; \
	esac

python:
	@[ -x $(BIN)/python ] || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "im2gps: $(PYTHON) is missing or older than 3.11: install Python 3.11 or newer, or call make PYTHON=..." >&2; exit 1; }

$(READY): pyproject.toml conf/spark-defaults.conf
	@echo "set-up: virtual environment and packages in $(VENV) (once; about a minute)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "set-up: Spark's library for Iceberg (once)"
	@$(BIN)/python -m im2gps_spark.session
	@# spark-submit of this environment finds Iceberg and this interpreter, activated or not.
	@sed -i.orig 's|"python3"|"$(abspath $(BIN)/python)"|' $(BIN)/find-spark-home
	@home=$$($(BIN)/python -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)'); \
	  mkdir -p "$$home/conf" && { cat conf/spark-defaults.conf; \
	  echo "spark.pyspark.python $(abspath $(BIN)/python)"; } > "$$home/conf/spark-defaults.conf"
	@touch $@
