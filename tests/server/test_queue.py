"""The queue on disk."""

import multiprocessing
import random
import sqlite3
import threading

import pytest

from inkwash.server.queue import CANCELLED, DONE, FAILED, INTERRUPTED, QUEUED, RUNNING, TRAINING, Queue, QueueFull


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path / "q.db", most=5)


def test_a_job_goes_its_way(queue):
    job = queue.submit("generate", "m", {"x": "水"})
    assert (job.state, job.payload, job.runs, job.ended) == (QUEUED, {"x": "水"}, 0, False)
    assert [j.id for j in queue.waiting()] == [job.id] and queue.ahead(job) == 0
    (now,) = queue.claim([job.id])
    assert now.state == RUNNING and now.runs == 1 and now.started >= now.created and not queue.waiting()
    assert queue.claim([job.id]) == []  # it is taken
    assert queue.progress([job.id], 3, 10) == set()
    queue.preview(job.id, ["a.png"])
    assert (queue.get(job.id).done, queue.get(job.id).total, queue.get(job.id).previews) == (3, 10, ["a.png"])
    queue.finish(job.id, DONE, {"pictures": []})
    assert queue.get(job.id).state == DONE and queue.get(job.id).result == {"pictures": []} and queue.get(job.id).ended
    queue.finish(job.id, FAILED, None, {"message": "late"})
    assert queue.get(job.id).state == DONE  # what has ended stays as it is


def test_the_longest_waiting_is_first_and_training_waits_elsewhere(queue):
    first, second = queue.submit("generate", "m", {}), queue.submit("edit", "m", {})
    lesson = queue.submit(TRAINING, "m", {})
    assert [j.id for j in queue.waiting()] == [first.id, second.id] and [j.id for j in queue.waiting(training=True)] == [lesson.id]
    assert [queue.ahead(j) for j in (first, second, lesson)] == [0, 1, 0]


def test_a_full_queue_says_when_to_come_back(queue):
    for _ in range(5):
        queue.submit("generate", "m", {})
    with pytest.raises(QueueFull, match="5 wait already, and there is no room for 1 more") as full:
        queue.submit("generate", "m", {})
    assert full.value.seconds >= 1 and not full.value.never
    queue.claim([queue.waiting()[0].id])
    queue.submit("generate", "m", {})


def test_several_jobs_come_together_or_not_at_all(queue):
    noted = []
    ids = queue.submit_all("generate", [("m", {"k": k}) for k in range(3)], noted.extend)
    assert noted == ids and [queue.get(id).payload["k"] for id in ids] == [0, 1, 2]
    with pytest.raises(QueueFull) as full:
        queue.submit_all("generate", [("m", {})] * 3, noted.extend)
    assert not full.value.never and noted == ids and queue.counts()[QUEUED] == 3

    with pytest.raises(QueueFull) as full:
        queue.submit_all("generate", [("m", {})] * 6, noted.extend)
    assert full.value.never, "six do not fit into a queue of five"

    def broken(ids):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        queue.submit_all("generate", [("m", {})], broken)
    assert queue.counts()[QUEUED] == 3
    assert set(queue.several([ids[2], "none", ids[0]])) == {ids[0], ids[2]}
    assert queue.several([]) == {}


def test_several_jobs_go_together_or_not_at_all(queue):
    first, second, other = (queue.submit("generate", "m", {}) for _ in range(3))
    queue.cancel(first.id)
    noted = []
    assert queue.forget_all([first.id, second.id], lambda: noted.append(1)) is None
    assert queue.get(first.id) and not noted, "one still waits"
    queue.cancel(second.id)
    with pytest.raises(ZeroDivisionError):
        queue.forget_all([first.id, second.id], lambda: 1 / 0)
    assert queue.get(first.id) and queue.get(second.id), "what goes with them stayed"
    gone = queue.forget_all([first.id, "job_nowhere", second.id], lambda: noted.append(1))
    assert {job.id for job in gone} == {first.id, second.id} and noted == [1]
    assert [job.id for job in queue.page()] == [other.id] and queue.forget_all([first.id]) == []


def test_the_same_request_twice_is_one_job(queue):
    one, other = queue.submit("generate", "m", {}, "k"), queue.submit("generate", "m", {}, "k")
    assert one.id == other.id and len(queue.page()) == 1
    assert queue.submit("generate", "m", {}, "k2").id != one.id


def test_cancelling(queue):
    waits, runs = queue.submit("generate", "m", {}), queue.submit("generate", "m", {})
    assert queue.cancel(waits.id).state == CANCELLED
    queue.claim([runs.id])
    assert queue.cancel(runs.id).state == RUNNING and queue.progress([runs.id], 1, 2) == {runs.id}
    queue.finish(runs.id, CANCELLED)
    again = queue.again(runs.id)
    assert (again.state, again.cancel, again.done) == (QUEUED, False, 0)
    queue.claim([runs.id])
    queue.finish(runs.id, DONE, {})
    assert queue.again(runs.id).state == DONE and queue.cancel(runs.id).state == DONE  # neither makes sense any more
    assert queue.get("job_nowhere") is None and queue.cancel("job_nowhere") is None


def test_what_a_gone_process_left_is_interrupted(queue, tmp_path):
    job, lesson, waits = queue.submit("edit", "m", {}), queue.submit(TRAINING, "m", {}), queue.submit("edit", "m", {})
    queue.claim([job.id, lesson.id])
    queue.close()
    other = Queue(tmp_path / "q.db")
    assert other.interrupt(training=False) == 1
    assert [other.get(j.id).state for j in (job, lesson, waits)] == [INTERRUPTED, RUNNING, QUEUED]
    assert other.again(job.id).state == QUEUED and [j.id for j in other.waiting()] == [job.id, waits.id]


def test_pages_and_changes(queue):
    queue = Queue(queue.db.execute("PRAGMA database_list").fetchone()[2], most=100)
    jobs = [queue.submit("generate", "m", {"i": i}) for i in range(7)]
    page = queue.page(limit=3)
    assert [j.payload["i"] for j in page] == [6, 5, 4]
    assert [j.payload["i"] for j in queue.page(before=page[-1].number, limit=3)] == [3, 2, 1]
    at = queue.now()
    queue.cancel(jobs[2].id)
    assert [j.id for j in queue.since(at)] == [jobs[2].id]
    assert [j.id for j in queue.page(states=(CANCELLED,))] == [jobs[2].id] and queue.counts()[CANCELLED] == 1
    assert queue.forget(jobs[1].id) is None and queue.forget(jobs[2].id).id == jobs[2].id and queue.get(jobs[2].id) is None


def test_another_process_sees_a_change(queue, tmp_path):
    other = Queue(tmp_path / "q.db")
    version = other.version()
    assert other.version() == version
    queue.submit("generate", "m", {})
    assert other.version() != version and len(other.waiting()) == 1


def _take(path, count, seed):
    queue, order = Queue(path), random.Random(seed)
    taken = []
    while waiting := queue.waiting():
        for job in queue.claim([order.choice(waiting).id]):
            queue.finish(job.id, DONE, {"by": seed})
            taken.append(job.id)
    count.put(taken)


def test_no_job_is_taken_twice(tmp_path):
    queue = Queue(tmp_path / "q.db", most=1000)
    ids = {queue.submit("generate", "m", {}).id for _ in range(60)}
    taken, context = multiprocessing.Queue(), multiprocessing.get_context("spawn")
    taken = context.Queue()
    workers = [context.Process(target=_take, args=(tmp_path / "q.db", taken, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    lists = [taken.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    every = [id for taken in lists for id in taken]
    assert len(every) == 60 and set(every) == ids and all(queue.get(id).runs == 1 for id in ids)


def test_a_job_that_comes_of_another_is_there_when_that_one_has_ended(queue, monkeypatch):
    first = queue.submit("training", "m", {})
    queue.claim([first.id])
    queue.finish(first.id, DONE, {}, then=("serve", "m", {"path": "p"}))
    (serve,) = queue.waiting()
    assert (serve.kind, serve.payload) == ("serve", {"path": "p"})
    queue.finish(first.id, DONE, {}, then=("serve", "m", {"path": "p"}))  # it has ended: nothing comes of it twice
    second = queue.submit("training", "n", {})
    queue.claim([second.id])

    def killed(*_):
        raise OSError

    monkeypatch.setattr(queue, "_insert", killed)
    with pytest.raises(OSError):
        queue.finish(second.id, DONE, {}, then=("serve", "n", {"path": "q"}))
    assert queue.get(second.id).state == "running" and len(queue.waiting()) == 1
    assert {job.id for job in queue.every()} == {first.id, second.id, serve.id}


def test_a_change_that_fails_changes_nothing(queue):
    job = queue.submit("generate", "m", {})
    at = queue.now()
    with pytest.raises(ZeroDivisionError), queue._change() as n:
        queue.db.execute("UPDATE jobs SET state = 'done' WHERE id = ?", (job.id,))
        raise ZeroDivisionError(n)
    assert queue.get(job.id).state == QUEUED and queue.now() == at
    queue.submit("generate", "m", {})  # and it can go on


def test_it_belongs_to_one_thread(queue):
    caught = []

    def elsewhere():
        try:
            queue.now()
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert caught
