"""spark-submit jobs/forget.py --config FILE [--photo ID] [--owner ID] [--file LIST] [--set section.key=value ...]."""

from im2gps_spark.cli import run_job

if __name__ == "__main__":
    run_job("forget")
