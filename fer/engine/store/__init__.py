"""The S3-compatible store: a bucket in one, and the embedded SeaweedFS for machines without one."""
