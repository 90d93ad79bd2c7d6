"""The registry of networks: names, aliases of older checkpoints, and what an entry must hold."""

import json

import pytest

from ate_core.contract import load_cell
from ate_core.errors import CheckpointError, UsageError
from ate_policy.checkpoint import load_checkpoint, save_checkpoint
from ate_policy.models.entry import PolicyOptions
from ate_policy.models.registry import POLICIES, entry_of, policy_entry
from ate_policy.policy import checkpoint_of, load_policy
from ate_policy.untrained import untrained_policy
from benchmarks.restless_policy import save_restless_policy


@pytest.mark.parametrize("name", POLICIES.builtin)
def test_every_network_is_found_by_its_options(name):
    entry = policy_entry(name)
    assert entry_of(entry.options()) == (name, entry)
    assert entry.options.__doc__ and "fields" in dir(entry.options)
    for preset in entry.presets:
        assert entry.options(preset=preset).preset == preset
        entry.config(**entry.preset(preset).sizes)


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(
        CheckpointError, match=r"no policy 'pi1': known are flow, diffusion, pi0.*pi0\?"
    ):
        policy_entry("pi1")


def test_an_unknown_size_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="no preset 'huge': known are tiny, small, full"):
        policy_entry("flow").preset("huge")


def test_options_of_no_network_are_refused():
    with pytest.raises(CheckpointError, match="PolicyOptions are the options of no network"):
        entry_of(PolicyOptions())


def test_a_checkpoint_of_an_older_kind_still_loads(tmp_path):
    cell = load_cell(hardware="sim")
    policy = untrained_policy(cell, objects=1)
    checkpoint = checkpoint_of(
        policy.kind,
        policy.config,
        weights=policy._model.state_dict(),
        statistics=policy.statistics,
        contract=policy.contract,
        training={},
    )
    save_checkpoint(tmp_path / "policy", checkpoint)
    file = tmp_path / "policy" / "config.json"
    stored = json.loads(file.read_text())
    assert stored["kind"] == "flow"
    file.write_text(json.dumps({**stored, "kind": "flow_policy"}))
    assert load_checkpoint(tmp_path / "policy", kind="flow").kind == "flow"
    assert load_policy(tmp_path / "policy", cell).kind == "flow"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("action_tokens", "made by `ate train-tokens`: only a policy drives"),
        ("pi1", "there is no policy 'pi1': known are flow"),
    ],
)
def test_a_checkpoint_that_drives_nothing_is_refused_by_its_path(tmp_path, kind, words):
    save_restless_policy(tmp_path / "run", load_cell(hardware="sim"))
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"flow"', f'"{kind}"'))
    with pytest.raises(CheckpointError, match=words) as caught:
        load_policy(tmp_path / "run")
    assert str(caught.value).startswith(str(tmp_path / "run"))
