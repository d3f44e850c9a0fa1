"""Every row of the catalogue keeps the whole contract: two rows at a time, each in a process of its own."""

import concurrent.futures
import multiprocessing

import backbones_contract as contract
import pytest

from keras_transfer.backbones.registry import rows

pytestmark = pytest.mark.slow
NAMES = tuple(spec.name for spec in rows())


@pytest.fixture(scope="module")
def table(request):
    """{row: its line of the table, to come} of the rows that were asked for; nothing is read that was kept."""
    asked = [item.callspec.params["name"] for item in request.session.items if item.path == request.path]
    with concurrent.futures.ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        yield {name: pool.submit(contract.measured, name) for name in asked}


@pytest.mark.parametrize("name", NAMES)
def test_every_row_keeps_the_whole_contract(name, table):
    row = table[name].result()
    assert contract.keeps(row), row
