// What users of testcontainers do: real programs in containers, waited for in the ways that there are. The image "redis"
// is there already; its companion that cleans up (Ryuk) can't be pulled where there is no way to the outside.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const net = require('node:net');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { GenericContainer, Network, Wait } = require('testcontainers');

// talk sends commands to a Redis and gives what it answers to the last one.
function talk(port, ...commands) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let said = '';
    socket.on('error', reject);
    socket.on('data', (chunk) => { said += chunk; });
    socket.on('end', () => resolve(said));
    socket.write(commands.concat('QUIT').map((c) => c + '\r\n').join(''));
  });
}

// A program that only waits for the daemon ends when its connections do not count as something to wait for.
const alive = setInterval(() => {}, 1000);

test('a Redis is waited for by its log', async () => {
  const redis = await new GenericContainer('redis').withExposedPorts(6379).withWaitStrategy(Wait.forLogMessage('Ready to accept connections')).start();
  assert.match(await talk(redis.getMappedPort(6379), 'SET sea north', 'GET sea'), /\+OK\r\n\$5\r\nnorth\r\n/);
  const { output, exitCode } = await redis.exec(['redis-cli', 'get', 'sea']);
  assert.strictEqual(exitCode, 0);
  assert.match(output, /north/);
  await redis.restart();
  assert.match(await talk(redis.getMappedPort(6379), 'PING'), /PONG/);
  await redis.stop();
});

test('by its port', async () => {
  const redis = await new GenericContainer('redis').withExposedPorts(6379).withWaitStrategy(Wait.forListeningPorts()).start();
  assert.match(await talk(redis.getFirstMappedPort(), 'PING'), /PONG/);
  await redis.stop();
});

test('by its health', async () => {
  const redis = await new GenericContainer('redis').withExposedPorts(6379)
    .withHealthCheck({ test: ['CMD', 'redis-cli', 'ping'], interval: 200, timeout: 5000, retries: 50, startPeriod: 0 })
    .withWaitStrategy(Wait.forHealthCheck()).start();
  assert.match(await talk(redis.getMappedPort(6379), 'PING'), /PONG/);
  await redis.stop();
});

test('by a command', async () => {
  const redis = await new GenericContainer('redis').withExposedPorts(6379).withWaitStrategy(Wait.forSuccessfulCommand('redis-cli ping')).start();
  await redis.stop();
});

test('by HTTP', async () => {
  const web = await new GenericContainer('busybox').withCommand(['sh', '-c', 'echo ahoy >/tmp/index.html; exec httpd -f -p 8080 -h /tmp']).withExposedPorts(8080)
    .withWaitStrategy(Wait.forHttp('/index.html', 8080).forStatusCode(200)).start();
  const answer = await fetch(`http://${web.getHost()}:${web.getMappedPort(8080)}/`);
  assert.strictEqual(await answer.text(), 'ahoy\n');
  await web.stop();
});

test('by its end', async () => {
  const once = await new GenericContainer('busybox').withCommand(['true']).withWaitStrategy(Wait.forOneShotStartup()).start();
  await once.stop();
  await assert.rejects(new GenericContainer('busybox').withCommand(['false']).withWaitStrategy(Wait.forOneShotStartup()).start());
});

test('the log is streamed', async () => {
  const lines = [];
  const talker = await new GenericContainer('busybox').withCommand(['sh', '-c', 'seq 1 100; exec sleep 1000']).withWaitStrategy(Wait.forLogMessage('100'))
    .withLogConsumer((stream) => stream.on('data', (line) => lines.push(String(line).trim()))).start();
  const stream = await talker.logs();
  await new Promise((resolve) => stream.on('data', (line) => { if (String(line).includes('100')) resolve(); }));
  await talker.stop();
  assert.ok(lines.length > 0);
});

test('settings', async () => {
  const c = await new GenericContainer('busybox').withCommand(['sleep', '1000']).withEnvironment({ SEA: 'north' }).withUser('1000').withWorkingDir('/tmp')
    .withTmpFs({ '/scratch': 'size=1m' }).withLabels({ fleet: 'testcontainers' }).withName('tc-settings').withExtraHosts([{ host: 'elsewhere', ipAddress: '10.1.2.3' }]).start();
  const { output } = await c.exec(['sh', '-c', 'echo $SEA $(id -u) $PWD; grep scratch /proc/mounts; grep elsewhere /etc/hosts']);
  assert.match(output, /north 1000 \/tmp\n.*tmpfs.*\n10\.1\.2\.3/);
  assert.strictEqual(c.getName(), '/tc-settings');
  await c.stop();
});

test('a network with aliases', async () => {
  const network = await new Network().start();
  const redis = await new GenericContainer('redis').withNetwork(network).withNetworkAliases('store').withWaitStrategy(Wait.forLogMessage('Ready to accept connections')).start();
  const client = await new GenericContainer('redis').withNetwork(network).withCommand(['sleep', '1000']).withEntrypoint([]).start();
  const { output, exitCode } = await client.exec(['redis-cli', '-h', 'store', 'ping']);
  assert.strictEqual(exitCode, 0, output);
  assert.match(output, /PONG/);
  await client.stop();
  await redis.stop();
  await network.stop();
});

test('a container is used again', async () => {
  const make = () => new GenericContainer('redis').withExposedPorts(6379).withReuse().withWaitStrategy(Wait.forLogMessage('Ready to accept connections')).start();
  const first = await make();
  const second = await make();
  assert.strictEqual(first.getId(), second.getId());
  await second.stop();
});

test('an image is built from a Dockerfile', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-testcontainers-'));
  try {
    fs.writeFileSync(path.join(folder, 'Dockerfile'), 'FROM busybox\nARG WHO=nobody\nRUN echo hello $WHO >/greeting\nCMD ["sh", "-c", "cat /greeting; exec sleep 1000"]\n');
    const image = await GenericContainer.fromDockerfile(folder).withBuildArgs({ WHO: 'sailor' }).build('tc-built', { deleteOnExit: false });
    const c = await image.withWaitStrategy(Wait.forLogMessage('hello sailor')).start();
    await c.stop();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('files go in and out', async (t) => {
  let c;
  try {
    c = await new GenericContainer('busybox').withCommand(['sleep', '1000']).withCopyContentToContainer([{ content: 'dear\n', target: '/tmp/letter' }]).start();
  } catch (err) {
    if (!/does not have the copying of files/.test(err.message)) throw err;
    t.skip(err.message);
    return;
  }
  assert.strictEqual((await c.exec(['cat', '/tmp/letter'])).output, 'dear\n');
  const archive = await c.copyArchiveFromContainer('/tmp/letter');
  let text = '';
  for await (const chunk of archive) text += chunk;
  assert.match(text, /dear\n/);
  await c.stop();
});

test('nothing is left to wait for', () => clearInterval(alive));
