"""The official openai SDK for Node against the local endpoint."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.proof.conftest import Figure
from tests.serve.conftest import serving

pytestmark = pytest.mark.proof
OUTSIDE = dict(os.environ)  # as it was before the tests cleaned it: npm needs proxies

SCRIPT = """
import OpenAI from 'openai';
import assert from 'node:assert/strict';
const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'any', maxRetries: 0 });
const api = client.responses;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
async function ended(id) {
  for (;;) {
    const found = await api.retrieve(id);
    if (!['queued', 'in_progress'].includes(found.status)) return found;
    await sleep(20);
  }
}
const asked = { model: 'demo', input: 'Hello there', background: true };

// queued, then done, with what was said of it
const job = await api.create({ ...asked, metadata: { a: 'b' } });
assert.equal(job.status, 'queued');
const done = await ended(job.id);
assert.equal(done.status, 'completed');
assert.deepEqual(done.metadata, { a: 'b' });
assert.match(done.output_text, /demo engine, not a model/);
assert.equal(done.usage.input_tokens, 2);

// events from 0 without gaps, and from anywhere on
const events = [];
for await (const event of await api.create({ ...asked, stream: true })) events.push(event);
assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, n) => n));
const kinds = events.map((event) => event.type);
const opening = ['response.created', 'response.queued', 'response.in_progress'];
assert.deepEqual(kinds.slice(0, 3), opening);
assert.equal(kinds.at(-1), 'response.completed');
const id = events[0].response.id;
const rest = [];
const later = await api.retrieve(id, { stream: true, starting_after: 7 });
for await (const event of later) rest.push(event);
assert.deepEqual(rest, events.slice(8));

// the SDK's own helper follows a response that streams
const helper = client.responses.stream({ response_id: id });
const final = await helper.finalResponse();
assert.equal(final.output_text, events.at(-1).response.output[0].content[0].text);

// a limit, a conversation, items, cancel, delete, models, and a plain call
const cut = await ended((await api.create({ ...asked, max_output_tokens: 2 })).id);
assert.deepEqual([cut.status, cut.incomplete_details.reason],
                 ['incomplete', 'max_output_tokens']);
const next = await api.create({ ...asked, previous_response_id: job.id });
assert.equal((await ended(next.id)).status, 'completed');
const items = [];
for await (const item of await api.inputItems.list(job.id)) items.push(item);
assert.equal(items[0].content[0].text, 'Hello there');
const held = await api.create({ ...asked, input: 'hold' });
assert.equal((await api.cancel(held.id)).status, 'cancelled');
assert.equal((await api.cancel(held.id)).status, 'cancelled');
await assert.rejects(api.cancel(job.id), (error) => error.status === 400);
await api.delete(job.id);
await assert.rejects(api.retrieve(job.id), (error) => error.status === 404);
for await (const model of await client.models.list()) assert.equal(model.id, 'demo');
const plain = await api.create({ model: 'demo', input: 'x' });
assert.equal(plain.status, 'completed');
console.log('ok');
"""


def test_the_sdk_for_node(tmp_path: Path, figure: Figure) -> None:
    """Create, stream, resume, continue, cancel, delete and list, as Node's SDK does."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("apt-get install nodejs npm")
    install = [npm, "install", "--no-audit", "--no-fund", "--silent", "openai@6"]
    fetched = subprocess.run(
        install, cwd=tmp_path, env=OUTSIDE, capture_output=True, check=False
    )
    if fetched.returncode:
        pytest.skip("npm could not fetch the openai SDK")
    script = tmp_path / "sdk.mjs"
    script.write_text(SCRIPT)
    with serving(tmp_path / "jobs") as served:
        ran = subprocess.run(
            [node, str(script), served.base_url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (0, "ok\n") == (ran.returncode, ran.stdout), ran.stderr
    figure("the openai SDK for Node: every call that it has for responses")
