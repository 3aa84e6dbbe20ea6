"""One model for all tabs: loaded once, replaced only by one that answers, and back if that fails."""

import threading
import time

import pytest

from rag.errors import DoesNotFit, ModelDied
from rag.page.models import Models
from rag.settings import ModelSettings
from rag.types import ModelInfo


class FakeModel:
    """Ready when it is told to be, or never."""

    def __init__(self, name, ready):
        self.info = ModelInfo(name, "fake", "none", 7_000_000_000, 2048)
        self.ready, self.closed = ready, False

    def wait_ready(self):
        assert self.ready.wait(10)
        if self.closed:
            raise ModelDied(f"{self.info.name} was closed", "Start it again.")

    def close(self):
        self.closed = True
        self.ready.set()


class Garage:
    """Opens models by name; "big" does not fit, and "slow" waits to be let go."""

    def __init__(self):
        self.opened, self.slow = [], threading.Event()

    def __call__(self, settings, report):
        if settings.model == "big":
            report({"event": "rung_failed", "message": "killed at shard 2/3"})
            raise DoesNotFit("big needs 28 GB, and 20 GB are free", "Choose a smaller one.")
        ready = self.slow if settings.model == "slow" else threading.Event()
        if settings.model != "slow":
            ready.set()
        model = FakeModel(settings.model, ready)
        self.opened.append(model)
        return model


def named(name):
    return ModelSettings(model=name)


@pytest.fixture
def garage():
    return Garage()


@pytest.fixture
def models(garage):
    models = Models(named("first"), garage)
    with models.using() as model:
        assert model is garage.opened[0]
    return models


def settle(models):
    with models._changed:
        assert models._changed.wait_for(lambda: models.load is None, 10)


def test_twenty_threads_share_one_model(garage):
    models, seen = Models(named("first"), garage), []

    def use():
        with models.using() as model:
            seen.append(model)

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(garage.opened) == 1 and seen == garage.opened * 20


def test_another_model_takes_over_once_it_is_ready(models, garage):
    assert models.choose(named("slow"))
    with models.using() as model:
        assert model.info.name == "first"
    assert not models.choose(named("third"))  # one at a time
    garage.slow.set()
    settle(models)
    assert models.info.name == "slow" and models.settings.model == "slow"
    assert garage.opened[0].closed and not garage.opened[1].closed


def test_an_answer_under_way_keeps_its_model(models, garage):
    with models.using() as model:
        models.choose(named("second"))
        settle(models)
        assert models.info.name == "second" and not model.closed
    assert model.closed


def test_one_that_does_not_fit_leaves_the_one_that_answers(models, garage):
    models.choose(named("big"))
    settle(models)
    assert models.info.name == "first" and not garage.opened[0].closed
    assert models.failed.error.message.startswith("big needs") and models.failed.setbacks == [
        "killed at shard 2/3"
    ]


def test_one_that_was_let_go_comes_back_when_its_successor_fails(models, garage):
    models.choose(named("big"), room=True)
    settle(models)
    assert [model.info.name for model in garage.opened] == ["first", "first"]
    assert garage.opened[0].closed and models.info.name == "first"
    assert models.failed.settings.model == "big"


@pytest.mark.parametrize("room", [False, True])
def test_a_load_can_be_stopped_and_the_model_before_it_answers(models, garage, room):
    models.choose(named("slow"), room)
    if not room:  # else it may be stopped before there is anything to close
        while not models.load.model:
            time.sleep(0.01)
    models.give_up()
    settle(models)
    with models.using() as model:
        assert model.info.name == "first"
    assert (models.failed.settings.model, models.failed.error.message) == ("slow", "You stopped it")
    assert [model.closed for model in garage.opened if model.info.name == "slow"] in ([True], [])
    models.forget_failure()
    assert models.failed is None


def test_a_load_that_is_stopped_while_it_waits_for_room_leaves_all_as_it_was(models, garage):
    with models.using() as model:
        models.choose(named("second"), room=True)
        models.give_up()
        settle(models)
        assert models.info.name == "first"
    assert not model.closed and len(garage.opened) == 1
    assert models.failed.error.message == "You stopped it"


def test_it_is_told_why_the_model_before_did_not_come_back(models, garage):
    def broken(settings, report):
        raise DoesNotFit(f"{settings.model} needs 28 GB", "")

    models._open_model = broken
    models.choose(named("big"), room=True)
    settle(models)
    assert models.info is None
    assert models.failed.error.message == "big needs 28 GB"
    assert models.failed.setbacks == ["first: first needs 28 GB"]


def test_without_any_model_there_is_none(garage):
    models = Models(named("big"), garage)
    with models.using() as model:
        assert model is None
    models.forget_failure()
    assert models.failed.error.code == "does_not_fit"  # else each question would try again
    models.choose(named("first"))
    settle(models)
    assert models.info.name == "first" and models.failed is None
