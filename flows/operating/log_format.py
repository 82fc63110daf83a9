"""How Prefect's log is written where the setting FER_LOG_FORMAT says so: by variables, which its processes inherit."""

_JSON = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "fer.json_lines.Formatter",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_MARKUP": "false",
}


def variables(log_format: str) -> dict[str, str]:
    """What has to be set before Prefect is imported."""
    return dict(_JSON) if log_format == "json" else {}
