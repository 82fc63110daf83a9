"""What an installation needs on its server: made once; what is there stays."""

from prefect.client.orchestration import get_client

from flows.operating import installation, pools, provisions


def test_pool_queue_and_automations_are_made_once_and_a_users_limit_stays(bare_server):
    with get_client(sync_client=True) as client:
        made = provisions.ensure(client, installation.POOL)
        assert any(installation.POOL in what for what in made)
        queue = client.read_work_queue_by_name(pools.TRAINING, work_pool_name=installation.POOL)
        assert queue.concurrency_limit == 1
        client.update_work_queue(queue.id, concurrency_limit=3)
        assert provisions.ensure(client, installation.POOL) == []
        assert client.read_work_queue_by_name(pools.TRAINING, work_pool_name=installation.POOL).concurrency_limit == 3
        client.delete_work_pool(installation.POOL)
        assert provisions.ensure(client, installation.POOL) == [what for what in made if "work" in what]


def test_an_installation_of_another_pool_has_that_one_alone(bare_server):
    with get_client(sync_client=True) as client:
        try:
            made = provisions.ensure(client, "faces")
            assert made[:2] == ["the work pool 'faces', of processes", "the work queue 'training', 1 run at a time"]
            assert not any(repr(installation.POOL) in what for what in made)
            assert client.read_work_queue_by_name(pools.TRAINING, work_pool_name="faces").concurrency_limit == 1
        finally:
            client.delete_work_pool("faces")
