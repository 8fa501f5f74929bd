# SPDX-License-Identifier: Apache-2.0
"""The demo's page in a real headless browser: every mode, phone and desktop, dark and light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import struct
from typing import Any

from demo_runs import collection_of, Opener, RATE_HZ, run_of
import numpy as np
import pytest

from motion_predictor.recordings.walker import synthetic_walkers
from tools.demo import demo_page
from tools.demo.demo_page import write_page

pytestmark = pytest.mark.slow

DESKTOP = {'viewport': {'width': 1000, 'height': 640}}
PHONE = {'viewport': {'width': 390, 'height': 844}, 'has_touch': True, 'is_mobile': True}
DRAWN = """() => { // share of the picture's pixels that are not its background
  const p = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let n = 0;
  for (let i = 0; i < p.length; i += 4)
    if (Math.abs(p[i] - p[0]) + Math.abs(p[i + 1] - p[1]) + Math.abs(p[i + 2] - p[2]) > 60) n++;
  return 4 * n / p.length;
}"""
OUTSIDE = """() => { // joints that are to be seen and lie outside of their part of the picture
  let count = 0;
  for (let i = 0; i < D.runs.length; i++) {
    aim(boxOf(i));
    for (const point of inView()) {
      const [x, y] = project(...point);
      if (x < box.x || x > box.x + box.w || y < box.y || y > box.y + box.h) count++;
    }
  }
  return count;
}"""


@pytest.fixture(scope='module')
def page_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people and two weights; the second's samples lie up to 1.8 m aside."""
    scene = synthetic_walkers(2, 5.2, RATE_HZ)
    good, bad = collection_of(scene, samples=4), collection_of(scene, samples=4, offset_m=0.6)
    made_up = np.zeros(scene.num_frames, bool)
    made_up[:10] = True
    runs = [run_of(c.with_made_up(scene.instants_s, made_up), n) for n, c in
            (('good', good), ('bad', bad))]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_page, 'PAGE_STEP_S', 0.5)
        return write_page(tmp_path_factory.mktemp('page') / 'index.html', *runs)


@pytest.fixture(scope='module')
def page_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person; the expected future is 15 cm off."""
    collection = collection_of(synthetic_walkers(1, 8.0, RATE_HZ), samples=4, offset_m=0.1)
    return write_page(tmp_path_factory.mktemp('page') / 'index.html', run_of(collection))


def settled(page: Any) -> None:
    page.evaluate('wake()')
    page.wait_for_function('performance.now() > awakeUntil', timeout=60_000)


def finger(page: Any) -> Callable[..., None]:
    """Return what touches the screen: the kind of the event, and where each finger is."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{'x': x, 'y': y, 'id': i} for i, (x, y) in enumerate(points)]
        session.send('Input.dispatchTouchEvent', {'type': kind, 'touchPoints': places})

    return touch


@pytest.mark.parametrize('colours', ['light', 'dark'])
@pytest.mark.parametrize('device', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_every_mode_draws_and_fits(
    opened: Opener, page_of_two: Path, device: dict[str, Any], colours: str
) -> None:
    with opened(page_of_two, '?t=2', color_scheme=colours, **device) as page:
        assert page.evaluate('document.documentElement.dataset.theme') == colours
        for mode in ('live', 'unroll'):
            page.click(f'#mode-{mode}')
            page.evaluate('setPlaying(false); seek(2.6); toAnchor(1.5)')
            for layers in ([], ['ellipsoids'], ['occupancy']):
                for layer in layers:
                    page.click(f'#layer-{layer}')
                settled(page)
                assert page.evaluate(DRAWN) > 0.005, (mode, layers)
                assert page.evaluate(OUTSIDE) == 0
            for layer in ('ellipsoids', 'occupancy'):
                page.click(f'#layer-{layer}')
        wide = page.evaluate('document.documentElement.scrollWidth - innerWidth')
        assert wide <= 0, 'the page is wider than the screen'
        assert page.locator('#legend').is_visible()


def test_the_error_at_the_moment_shown(
    opened: Opener, page_of_one: Path, page_of_two: Path
) -> None:
    with opened(page_of_one, '?t=6&mode=unroll&anchor=5', **DESKTOP) as page:
        assert 'expected future: 15.0 cm a joint off' in page.inner_text('#badge')
        assert 'standing still ' in page.inner_text('#badge')
        page.click('#mode-live')
        page.evaluate('setPlaying(false); seek(6)')
        settled(page)
        assert 's ago for now: 15.0 cm a joint off' in page.inner_text('#badge')
        assert page.locator('#table tbody tr').count() == 4
    with opened(page_of_two, '?t=1&mode=unroll&anchor=0', **DESKTOP) as page:
        assert 'not scored' in page.inner_text('#badge'), 'it was observed on made-up frames'
        page.evaluate('toAnchor(2); seek(3.1)')
        settled(page)
        words = page.inner_text('#badge')
        assert 'expected future (good): 0.0 cm' in words
        assert 'expected future (bad): 90.0 cm' in words


def test_unrolling_keeps_the_person_and_the_samples_in_view(
    opened: Opener, page_of_two: Path
) -> None:
    with opened(page_of_two, '?t=1', **DESKTOP) as page:
        page.click('#mode-unroll')
        for _ in range(25):
            page.keyboard.press('ArrowRight')
            assert page.evaluate(OUTSIDE) == 0
        page.keyboard.press('+')
        settled(page)
        assert page.evaluate('camera.zoom') < 1.0


def test_keys_step_choose_modes_and_explain_themselves(opened: Opener, page_of_two: Path) -> None:
    with opened(page_of_two, '?t=2', **DESKTOP) as page:
        page.focus('#view')
        page.keyboard.press('ArrowRight')
        assert page.evaluate('now') == pytest.approx(2.1)
        page.keyboard.press('Shift+ArrowLeft')
        assert page.evaluate('now') == pytest.approx(1.1)
        page.keyboard.press('u')
        assert page.get_attribute('#mode-unroll', 'aria-pressed') == 'true'
        page.keyboard.press('l')
        assert page.get_attribute('#mode-live', 'aria-pressed') == 'true'
        page.keyboard.press('o')
        assert page.get_attribute('#layer-occupancy', 'aria-pressed') == 'true'
        page.keyboard.press('Home')
        assert page.evaluate('now') < 0.5
        page.keyboard.press('?')
        assert page.locator('#help').is_visible()
        page.keyboard.press('Escape')
        assert not page.locator('#help').is_visible()
        page.keyboard.press(' ')
        assert page.evaluate('document.activeElement === canvas')


def test_a_person_is_picked_by_name_and_by_a_click(opened: Opener, page_of_two: Path) -> None:
    with opened(page_of_two, '?t=2', **DESKTOP) as page:
        page.select_option('#person', '1')
        assert page.evaluate('chosen') == 1
        page.select_option('#person', '')
        settled(page)
        x, y = page.evaluate(
            'aim(boxOf(0)), realPose(now, 0, real), project(real[0], real[1], real[2])'
        )[:2]
        page.locator('#view').click(position={'x': x, 'y': y})
        assert page.evaluate('chosen') == 0
        assert page.input_value('#person') == '0'
        page.locator('#view').click(position={'x': 4, 'y': 4})
        assert page.evaluate('chosen') is None


def test_the_mouse_orbits_pans_and_zooms_and_does_not_trap_the_page(
    opened: Opener, page_of_one: Path
) -> None:
    with opened(page_of_one, '?t=2', **DESKTOP) as page:
        page.mouse.move(500, 300)
        page.mouse.wheel(0, 200)
        page.wait_for_function('scrollY > 0')
        assert page.evaluate('camera.zoom') == 1
        page.evaluate('scrollTo(0, 0)')
        turn = page.evaluate('camera.turn')
        page.mouse.down()
        page.mouse.move(600, 280, steps=4)
        page.mouse.up()
        assert page.evaluate('camera.turn') != turn
        page.mouse.wheel(0, 200)  # the picture has the focus now
        page.wait_for_function('camera.zoom > 1')
        page.keyboard.down('Shift')
        page.mouse.down()
        page.mouse.move(540, 230, steps=4)
        page.mouse.up()
        assert page.evaluate('Math.hypot(...camera.pan)') > 0.01


def test_two_weights_lie_side_by_side_with_their_names(
    opened: Opener, page_of_two: Path, page_of_one: Path
) -> None:
    boxes = '() => D.runs.map((_, i) => { const b = boxOf(i); return [b.x, b.y, b.w, b.h]; })'
    with opened(page_of_two, '?t=2', **DESKTOP) as page:
        settled(page)
        (x, y, w, h), (x2, y2, w2, h2) = page.evaluate(boxes)
        assert x + w <= x2 + 1, 'beside each other'
        assert (y, h, w) == (y2, h2, pytest.approx(w2, abs=2))
        assert page.locator('#names span').all_inner_texts() == ['good', 'bad']
    with opened(page_of_two, '?t=2', **PHONE) as page:
        settled(page)
        (x, y, w, h), (x2, y2, w2, h2) = page.evaluate(boxes)
        assert y + h <= y2 + 1, 'below each other, where the screen is narrow'
        assert page.locator('#names').is_visible()
    with opened(page_of_one, '?t=2', **DESKTOP) as page:
        assert not page.locator('#names').is_visible()


def test_the_keyboard_reaches_the_picture_and_shows_where_it_is(
    opened: Opener, page_of_one: Path
) -> None:
    with opened(page_of_one, '?t=2', **DESKTOP) as page:
        for _ in range(3):  # two buttons come first
            page.keyboard.press('Tab')
        assert page.evaluate('document.activeElement === canvas')
        assert page.evaluate('getComputedStyle(canvas).outlineStyle') == 'solid'


def test_the_colours_can_be_changed(opened: Opener, page_of_one: Path) -> None:
    with opened(page_of_one, '?t=2', color_scheme='light', **DESKTOP) as page:
        before = page.evaluate('getComputedStyle(document.body).backgroundColor')
        page.click('#theme')
        settled(page)
        assert page.evaluate('document.documentElement.dataset.theme') == 'dark'
        assert page.evaluate('getComputedStyle(document.body).backgroundColor') != before
        corner = 'Array.from(canvas.getContext("2d").getImageData(2, 2, 1, 1).data)'
        assert sum(page.evaluate(corner)[:3]) < 200, 'the picture stays light'


def test_one_finger_sideways_orbits_and_downwards_scrolls(
    opened: Opener, page_of_one: Path
) -> None:
    with opened(page_of_one, '?t=2', **PHONE) as page:
        touch, top = finger(page), page.locator('#view').bounding_box()['y']

        def swipe(dx: int, dy: int) -> None:
            touch('touchStart', (190, top + 350))
            for k in range(1, 16):
                touch('touchMove', (190 + dx * k, top + 350 + dy * k))
            touch('touchEnd')

        turn = page.evaluate('camera.turn')
        swipe(-10, 0)
        page.wait_for_function(f'camera.turn > {turn} + .5')
        assert page.evaluate('scrollY') == 0
        turn = page.evaluate('camera.turn')
        swipe(0, -15)
        page.wait_for_function('scrollY > 100')
        assert page.evaluate('camera.turn') == pytest.approx(turn, abs=0.1)


def test_two_fingers_pan_and_pinch_and_one_may_scroll(opened: Opener, page_of_one: Path) -> None:
    with opened(page_of_one, '?t=2', **PHONE) as page:
        assert page.evaluate('getComputedStyle(canvas).touchAction') == 'pan-y'
        touch, top = finger(page), page.locator('#view').bounding_box()['y']
        touch('touchStart', (150, top + 100), (250, top + 100))
        for k in range(1, 9):
            touch('touchMove', (150 - 8 * k, top + 100 + 2 * k), (250 + 8 * k, top + 100 + 2 * k))
        touch('touchEnd')
        page.wait_for_function('camera.zoom < .75')
        assert page.evaluate('Math.hypot(...camera.pan)') > 0.005
        assert page.evaluate('scrollY') == 0


def test_who_wants_little_motion_gets_none_unasked(opened: Opener, page_of_one: Path) -> None:
    with opened(page_of_one, '', reduced_motion='reduce', **DESKTOP) as page:
        assert page.inner_text('#play') == 'Play'
        before = page.evaluate('now')
        page.click('#mode-unroll')
        settled(page)
        assert page.evaluate('playing') is False
        assert page.evaluate('now - anchors[anchorIndex]') == pytest.approx(1.0)
        assert before > 0.0
    with opened(page_of_one, '', **DESKTOP) as page:
        page.wait_for_function('now > 0.2')


def test_a_picture_and_a_clip_can_be_saved(
    opened: Opener, page_of_one: Path, tmp_path: Path
) -> None:
    with opened(page_of_one, '?t=3', accept_downloads=True, **DESKTOP) as page:
        with page.expect_download() as saved:
            page.click('#save-picture')
        assert saved.value.suggested_filename == 'motion_predictor_3.0s.png'
        picture = Path(saved.value.path()).read_bytes()
        width, height = struct.unpack('>II', picture[16:24])
        assert picture.startswith(b'\x89PNG')
        assert width == page.evaluate('canvas.width')
        assert height == page.evaluate('canvas.height') + 34
        assert len(picture) > 10_000
        page.click('#save-clip')
        page.wait_for_function('now > 5.5')  # an encoder on a busy machine begins late
        with page.expect_download() as saved:
            page.click('#save-clip')  # enough
        clip = Path(saved.value.path()).read_bytes()
        assert saved.value.suggested_filename.endswith('.webm')
        assert clip.startswith(b'\x1a\x45\xdf\xa3')  # EBML, as Matroska has it
        assert len(clip) > 5_000
        assert page.inner_text('#save-clip') == 'Clip'
