pytest_plugins = ["embedded_store_fixture", "prefect_fixture"]
