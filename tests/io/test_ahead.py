"""Threads that work ahead of a generator's caller."""

import threading

import pytest

from nearid.io.ahead import threads_ahead


def ahead(function, count=3):
    with threads_ahead(1) as pool:
        waiting = [pool.submit(function, number) for number in range(count)]
        for future in waiting:
            yield future.result()


def test_a_generator_that_is_left_waits_for_no_thread_and_begins_nothing_more():
    begun, release = [], threading.Event()

    def work(number):
        begun.append(number)
        if number:
            release.wait()
        return number

    results = ahead(work)
    assert next(results) == 0
    results.close()  # item 1 is never done before `release`, item 2 not begun
    release.set()
    assert 2 not in begun


def test_an_error_is_raised_where_its_result_is_taken_and_ends_the_rest():
    def work(number):
        if number == 1:
            raise ValueError("one")
        return number

    results = ahead(work)
    assert next(results) == 0
    with pytest.raises(ValueError, match="one"):
        next(results)
    assert list(results) == []


def test_a_whole_run_gives_all_results_in_order():
    assert list(ahead(lambda number: number * 2)) == [0, 2, 4]
