// What programs do with dockerode, the client library of Node.js. REGISTRY is a registry on the loopback address.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { PassThrough } = require('node:stream');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const Docker = require('dockerode');

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });

// sink collects a stream's text.
function sink() {
  const s = new PassThrough();
  let text = '';
  s.on('data', (chunk) => { text += chunk; });
  Object.defineProperty(s, 'text', { get: () => text });
  return s;
}

// progress waits for the end of a build, pull or push and gives what it told.
function progress(stream) {
  return new Promise((resolve, reject) => docker.modem.followProgress(stream, (err, all) => (err ? reject(err) : resolve(all))));
}

// until reads a stream until the text was in it.
function until(stream, text) {
  return new Promise((resolve, reject) => {
    let seen = '';
    stream.on('data', (chunk) => { seen += chunk; if (seen.includes(text)) resolve(seen); });
    stream.on('end', () => reject(new Error(`no ${text} in ${seen}`)));
    stream.on('error', reject);
  });
}

// absent reports whether the daemon does not have what a test needs; the test is then skipped, loudly.
async function absent(t, ask) {
  try { await ask(); } catch (err) {
    if (err.statusCode !== 501) throw err;
    t.skip(err.json ? err.json.message : err.message);
    return true;
  }
  return false;
}

// A program that only waits for the daemon ends when its connections do not count as something to wait for.
const alive = setInterval(() => {}, 1000);

test('the daemon tells of itself', async () => {
  assert.strictEqual((await docker.ping()).toString(), 'OK');
  assert.match((await docker.version()).ApiVersion, /^1\.\d+$/);
  assert.strictEqual((await docker.info()).OSType, 'linux');
  const used = await docker.df();
  assert.ok(used.ImageUsage || used.Images); // since 1.52, before
});

test('build from a context', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-dockerode-'));
  try {
    fs.writeFileSync(path.join(folder, 'Dockerfile'), 'FROM busybox\nCOPY letter /\nRUN cat /letter\nLABEL fleet=dockerode\n');
    fs.writeFileSync(path.join(folder, 'letter'), 'dear\n');
    const told = await progress(await docker.buildImage({ context: folder, src: ['Dockerfile', 'letter'] }, { t: 'dockerode-built' }));
    assert.ok(told.some((m) => (m.stream || '').includes('Successfully tagged dockerode-built:latest')), JSON.stringify(told));
    assert.ok(told.some((m) => m.aux && m.aux.ID.startsWith('sha256:')));
    const image = docker.getImage('dockerode-built');
    assert.strictEqual((await image.inspect()).Config.Labels.fleet, 'dockerode');
    assert.ok((await image.history()).length > 1);
    await assert.rejects(docker.buildImage({ context: folder, src: ['letter'] }, { t: 'x' }), /Cannot locate specified Dockerfile: Dockerfile/);
    await image.remove();
    await assert.rejects(image.inspect(), { statusCode: 404 });
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('run with one stream for each', async () => {
  const [out, err] = [sink(), sink()];
  const [end, container] = await docker.run('busybox', ['sh', '-c', 'echo out; echo err >&2; exit 3'], [out, err], { Tty: false });
  assert.strictEqual(end.StatusCode, 3);
  assert.strictEqual(out.text, 'out\n');
  assert.strictEqual(err.text, 'err\n');
  await container.remove();
});

test('run in a terminal', async () => {
  const out = sink();
  const [end] = await docker.run('busybox', ['sh', '-c', 'test -t 0 && echo terminal'], out, { Tty: true, HostConfig: { AutoRemove: true } });
  assert.strictEqual(end.StatusCode, 0);
  assert.strictEqual(out.text, 'terminal\r\n');
});

test('attach both ways', async () => {
  const container = await docker.createContainer({ Image: 'busybox', Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true });
  const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
  const [out, err] = [sink(), sink()];
  docker.modem.demuxStream(stream, out, err);
  await container.start();
  stream.write('ahoy\n');
  stream.end('there\n');
  const end = await container.wait();
  if (!stream.readableEnded) await once(stream, 'end');
  assert.strictEqual(end.StatusCode, 0);
  assert.strictEqual(out.text, 'ahoy\nthere\n');
  await container.remove();
});

test('a container that runs', async (t) => {
  const container = await docker.createContainer({
    name: 'dockerode-long', Image: 'busybox', Labels: { fleet: 'dockerode' }, ExposedPorts: { '80/tcp': {} }, HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1' }] } },
    Cmd: ['sh', '-c', 'trap "exit 4" TERM; echo begin; sleep 1000 & wait'],
  });
  await container.start();
  await t.test('logs follow', async () => {
    const logs = await container.logs({ follow: true, stdout: true, stderr: true });
    await until(logs, 'begin');
    logs.destroy();
    assert.ok((await container.logs({ stdout: true })).toString().includes('begin\n'));
  });
  await t.test('inspect and list', async () => {
    const shown = await container.inspect();
    assert.strictEqual(shown.State.Status, 'running');
    assert.match(shown.NetworkSettings.Ports['80/tcp'][0].HostPort, /^\d+$/);
    const list = await docker.listContainers({ filters: { label: ['fleet=dockerode'] } });
    assert.deepStrictEqual(list.map((c) => c.Names[0]), ['/dockerode-long']);
    assert.strictEqual((await docker.listContainers({ limit: 1, filters: '{"name":["nobody"]}' })).length, 0);
  });
  await t.test('exec with input', async () => {
    const exec = await container.exec({ Cmd: ['sh', '-c', 'cat; echo err >&2; exit 5'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
    const stream = await exec.start({ hijack: true, stdin: true });
    const [out, err] = [sink(), sink()];
    docker.modem.demuxStream(stream, out, err);
    const ended = once(stream, 'end');
    stream.end('in\n');
    await ended;
    assert.strictEqual(out.text, 'in\n');
    assert.strictEqual(err.text, 'err\n');
    assert.strictEqual((await exec.inspect()).ExitCode, 5);
  });
  await t.test('exec in a terminal', async () => {
    const exec = await container.exec({ Cmd: ['sh', '-c', 'test -t 1 && echo terminal'], AttachStdout: true, Tty: true });
    const stream = await exec.start({ Tty: true });
    await until(stream, 'terminal\r\n');
  });
  await t.test('stats', async () => {
    const once1 = await container.stats({ stream: false });
    assert.ok(once1.memory_stats.usage > 0);
    assert.ok(once1.networks.eth0);
    const stream = await container.stats({ stream: true });
    const [first] = await once(stream, 'data');
    assert.ok(JSON.parse(first.toString()).cpu_stats.cpu_usage.total_usage > 0);
    stream.destroy();
  });
  await t.test('top, update, rename, pause', async () => {
    assert.ok((await container.top({ ps_args: '-o pid,args' })).Processes.length > 0);
    await container.update({ CpuShares: 100 });
    await container.rename({ name: 'dockerode-other' });
    await container.pause();
    assert.strictEqual((await container.inspect()).State.Paused, true);
    await container.unpause();
    assert.strictEqual((await docker.getContainer('dockerode-other').inspect()).HostConfig.CpuShares, 100);
  });
  await t.test('files', async (t) => {
    if (await absent(t, async () => (await container.infoArchive({ path: '/bin' })).resume())) return;
    const pack = require('tar-fs').pack;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-dockerode-'));
    try {
      fs.writeFileSync(path.join(folder, 'letter'), 'dear\n');
      await container.putArchive(pack(folder), { path: '/tmp' });
      const stream = await container.getArchive({ path: '/tmp/letter' });
      await until(stream, 'dear\n');
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
  await t.test('changes, export, commit', async (t) => {
    if (await absent(t, () => container.changes())) return;
    let size = 0;
    for await (const chunk of await container.export()) size += chunk.length;
    assert.ok(size > 1 << 20, `an export of ${size} bytes`);
    const made = await container.commit({ repo: 'dockerode-commit' });
    assert.match(made.Id, /^sha256:/);
    await docker.getImage('dockerode-commit').remove();
  });
  await t.test('stop and start', async () => {
    await container.stop();
    await assert.rejects(container.stop(), { statusCode: 304 });
    assert.strictEqual((await container.inspect()).State.ExitCode, 4);
    await container.start();
    await container.kill();
    assert.strictEqual((await container.wait()).StatusCode, 137);
    await container.remove({ v: true });
    await assert.rejects(container.inspect(), { statusCode: 404, reason: 'no such container' });
  });
});

test('events', async () => {
  const stream = await docker.getEvents({ filters: { container: ['dockerode-event'] } });
  const destroyed = until(stream, '"Action":"destroy"');
  const container = await docker.createContainer({ name: 'dockerode-event', Image: 'busybox', Cmd: ['true'] });
  await container.start();
  await container.wait();
  await container.remove();
  const actions = (await destroyed).trim().split('\n').map((line) => JSON.parse(line).Action);
  assert.deepStrictEqual(actions, ['create', 'start', 'die', 'destroy']);
  stream.destroy();
});

test('push and pull tell their progress', async () => {
  const name = `${process.env.REGISTRY}/dockerode`;
  await docker.getImage('busybox').tag({ repo: name, tag: 'v1' });
  const pushed = await progress(await docker.getImage(`${name}:v1`).push({}));
  assert.ok(pushed.some((m) => m.aux && m.aux.Digest), JSON.stringify(pushed));
  await docker.getImage(`${name}:v1`).remove();
  const pulled = await progress(await docker.pull(`${name}:v1`));
  assert.ok(pulled.some((m) => /^Digest: sha256:/.test(m.status)), JSON.stringify(pulled));
  assert.ok(pulled.some((m) => /^Status: /.test(m.status)));
  assert.ok((await docker.listImages({ filters: { reference: [`${name}:v1`] } })).length === 1);
  await docker.getImage(`${name}:v1`).remove();
  await assert.rejects(docker.pull(`${name}:nothing`), { statusCode: 404 });
});

test('volumes and networks', async () => {
  const volume = await docker.createVolume({ Name: 'dockerode-volume', Labels: { fleet: 'dockerode' } });
  const network = await docker.createNetwork({ Name: 'dockerode-network', Labels: { fleet: 'dockerode' } });
  const server = await docker.createContainer({ Image: 'busybox', Cmd: ['sleep', '1000'], HostConfig: { Binds: ['dockerode-volume:/v'] } });
  await server.start();
  await network.connect({ Container: server.id, EndpointConfig: { Aliases: ['friend'] } });
  assert.ok((await network.inspect()).Containers[server.id]);
  const out = sink();
  const [end, client] = await docker.run('busybox', ['sh', '-c', 'ping -c 1 -W 10 friend; echo >/v/file'], out, { HostConfig: { NetworkMode: 'dockerode-network', Binds: ['dockerode-volume:/v'] } });
  await client.remove();
  assert.strictEqual(end.StatusCode, 0, out.text);
  await assert.rejects(network.remove(), { statusCode: 403 });
  await assert.rejects(volume.remove(), { statusCode: 409 });
  await network.disconnect({ Container: server.id });
  await server.remove({ force: true, v: true });
  assert.strictEqual((await docker.listVolumes({ filters: { label: ['fleet=dockerode'] } })).Volumes.length, 1);
  assert.deepStrictEqual((await docker.pruneNetworks({ filters: { label: ['fleet=dockerode'] } })).NetworksDeleted, ['dockerode-network']);
  assert.deepStrictEqual((await docker.pruneVolumes({ filters: { label: ['fleet=dockerode'], all: ['true'] } })).VolumesDeleted, ['dockerode-volume']);
});

test('prune of containers', async () => {
  const container = await docker.createContainer({ Image: 'busybox', Labels: { prune: 'dockerode' } });
  const pruned = await docker.pruneContainers({ filters: { label: ['prune=dockerode'] } });
  assert.deepStrictEqual(pruned.ContainersDeleted, [container.id]);
});

test('nothing is left to wait for', () => clearInterval(alive));
