# SPDX-License-Identifier: Apache-2.0
"""A little of the fuzz: whatever arrives, nothing breaks and nothing untrue is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseArray
from ros_harness import write_random_weights
from stands_still import StandsStill
from std_msgs.msg import Header
from tracker_packages import plain
from tracker_people import MAKERS

from motion_predictor.body.layout_file import layout
from motion_predictor.errors import MessageError
from motion_predictor.predict.live import LivePredictor
from motion_predictor.ros.messages import DECODERS
from motion_predictor.sources.observation import InputFormat, Observation, plausible
from motion_predictor.sources.trackers import TRACKERS
from tools.fuzz.fuzz import Findings, fuzz_in_process, node_in_process, walker
from tools.fuzz.fuzz_messages import Fuzzer
from tools.fuzz.fuzz_messages import given as given_by


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_random_weights(tmp_path_factory.mktemp('weights') / 'tiny.safetensors'))


@pytest.mark.parametrize('kind', sorted(DECODERS))
def test_mutated_motion_breaks_nothing_and_nothing_untrue_is_published(
    kind: str, weights: str
) -> None:
    findings = Findings()
    fuzz_in_process(kind, 'h36m17', walker(), 12_000, 3, weights, findings)
    assert findings.found == []
    assert findings.predictions > 3, 'nothing was predicted: nothing was tested'


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(sorted(DECODERS)))
def test_any_message_is_read_or_refused(seed: int, kind: str) -> None:
    fuzzer = Fuzzer(kind, 17, walker(), seed)
    decode = DECODERS[kind][1]
    for _ in range(10):
        message = fuzzer.message(1_800_000_000 * 10**9)
        try:
            people = decode(message, InputFormat(joints=17))
            people, _ = plausible(people)
        except MessageError:
            continue
        stamps, frames = given_by(message)
        for person in people:
            assert person.xyz.shape == (17, 3)
            assert person.confidence.shape == (17,)
            assert person.stamp_ns in stamps
            assert person.frame_id in frames


coordinates = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    frames=st.lists(
        st.tuples(
            st.integers(-(2**31), 2**31 - 1),
            st.integers(0, 2**32 - 1),
            st.text(max_size=5),
            st.lists(st.tuples(st.integers(0, 16), coordinates), max_size=6),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_stamps_frames_and_numbers_of_any_value_leave_the_worker_working(
    frames: list, fuzzed_node: object
) -> None:
    node, arrive = fuzzed_node  # type: ignore[misc]
    pose = walker()[0]
    for sec, nanosec, frame_id, changes in frames:
        changed = pose.astype(float).copy()
        for joint, value in changes:
            changed[joint, joint % 3] = value
        message = PoseArray(
            header=Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id),
            poses=[Pose(position=Point(x=x, y=y, z=z)) for x, y, z in changed.tolist()],
        )
        arrive(message)
        node._worker.cycle(node._settings)
    counts = node._counts.snapshot()
    assert counts['messages'] == sum(
        counts[name]
        for name in ('messages_malformed', 'messages_empty', 'frames_stored', 'frames_refused')
    )
    assert not counts['worker_errors']


@pytest.fixture(scope='module')
def fuzzed_node(weights: str) -> object:
    from motion_predictor.ros.intake.inbox import Arrival

    with node_in_process('pose_array', 'h36m17', weights) as node:

        def arrive(message: PoseArray) -> None:
            now_ns = node.get_clock().now().nanoseconds
            node._inbox.append(Arrival('skeleton', message, now_ns, 0.0))

        yield node, arrive


def test_the_fuzzer_makes_messages_that_are_good_and_some_that_are_not() -> None:
    for kind in DECODERS:
        fuzzer = Fuzzer(kind, 17, walker(), 1)
        good = bad = 0
        for _ in range(300):
            try:
                people = DECODERS[kind][1](fuzzer.message(10**18), InputFormat(joints=17))
                good += any(np.isfinite(person.xyz).all() for person in people)
                bad += any(person.flaw for person in people)
            except MessageError:
                bad += 1
        assert good > 100
        assert bad > 5


def test_what_the_campaign_looks_for_would_be_found(
    weights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from motion_predictor.ros.messages import CloudEncoder

    encode = CloudEncoder.encode

    def untrue(self: CloudEncoder, stamp_ns: int, *rest: object) -> object:
        return encode(self, stamp_ns + 7, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CloudEncoder, 'encode', untrue)
    findings = Findings()
    fuzz_in_process('pose_array', 'h36m17', walker(), 12_000, 3, weights, findings)
    assert any('not given' in text for text in findings.found)


# The trackers' own messages, as STAND-INS with the same fields (see tracker_packages.py)

NUMBERS = (
    0, 1, -1, 2, 17, 255, -128, 2**31 - 1, 2**32 - 1, 0.0, 1e-300, 1e30, -1e308,
    float('nan'), float('inf'),
)  # fmt: skip
TEXTS = ('', '0', 'Hip', 'person_', '_', 'joint_7_left', 'ä' * 50, '9' * 5000, '../x', '%s', '{}')


def mutate(value: Any, rng: np.random.Generator, share: float) -> Any:
    """Change some of the numbers, texts and lists anywhere in a message."""
    if isinstance(value, bool):
        return value if rng.random() > share else not value
    if isinstance(value, int | float):
        if rng.random() > share:
            return value
        changed = NUMBERS[rng.integers(len(NUMBERS))]
        if isinstance(value, int):
            return int(changed) if np.isfinite(changed) and abs(changed) < 2**63 else 0
        return float(changed)
    if isinstance(value, str):
        return value if rng.random() > share else TEXTS[rng.integers(len(TEXTS))]
    if isinstance(value, list):
        value = [mutate(each, rng, share) for each in value]
        fixed = len(value) in (4, 8, 70)  # arrays of a ZED, whose length is part of their type
        if value and not fixed and not isinstance(value[0], int | float) and rng.random() < share:
            value = [value[i] for i in rng.integers(len(value), size=rng.integers(5))]
        return value
    for name, part in vars(value).items():
        setattr(value, name, mutate(part, rng, share))
    return value


@pytest.mark.parametrize('kind', TRACKERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.002, 0.02, 0.3]))
def test_a_trackers_message_is_read_or_refused_whatever_it_holds(
    kind: str, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    chosen = layout(TRACKERS[kind].layout)
    source = TRACKERS[kind].source(chosen, TRACKERS[kind].pattern)
    online = LivePredictor(StandsStill(), layout=chosen, samples=1)
    now_ns = 10**18
    for frame in range(12):
        now_ns += 33_000_000
        pose = walker()[frame]
        message = MAKERS[kind](plain, chosen, [pose, pose + [0.0, 2.0, 0.0]], now_ns)
        with np.errstate(all='ignore'):
            try:
                people = source.decode('/people', mutate(message, rng, share), now_ns) or []
                people, _ = plausible(people)
            except MessageError:
                continue
            for person in people:
                assert person.xyz.shape == (chosen.num_joints, 3)
                assert person.confidence.shape == (chosen.num_joints,)
                online.observe(
                    Observation(
                        person.stamp_ns, person.frame_id, person.person, person.xyz,
                        person.confidence,
                    ),
                    now_ns,
                )  # fmt: skip
            result = online.predict(now_ns)
        if result is not None and result.prediction is not None:
            assert np.isfinite(result.prediction.futures).all()
