"""spark-submit jobs/tune.py --config FILE [--set section.key=value ...]."""

from im2gps_spark.cli import run_job

if __name__ == "__main__":
    run_job("tune")
