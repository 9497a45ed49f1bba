// A suite of dockerode's calls (npm's client of the Engine API), each as its users have it in their programs:
//
//   node dockerode_suite.js MODULES SOCKET IMAGE
//
// MODULES is the folder in which dockerode is, IMAGE one with a busybox that has PATH=/bin. A line for each
// part; the status is 0 where all were as they should be.
'use strict';
const assert = require('assert');
const { PassThrough } = require('stream');
const { once } = require('events');
const [modules, socketPath, image] = process.argv.slice(2);
const Docker = require(modules + '/dockerode');
const tar = require(modules + '/tar-stream');
const docker = new Docker({ socketPath });

/** All of a stream, as text. */
async function textOf(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** What a stream with frames has, of standard output and of errors. */
async function partsOf(stream) {
  const [out, errors] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, errors);
  stream.on('end', () => { out.end(); errors.end(); });
  return Promise.all([textOf(out), textOf(errors)]);
}

function archive(files) {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) pack.entry({ name, mode: 0o644 }, content);
  pack.finalize();
  return pack;
}

async function filesOf(stream) {
  const files = {};
  const extract = tar.extract();
  extract.on('entry', (header, content, next) => {
    textOf(content).then((text) => { files[header.name] = text; next(); });
  });
  stream.pipe(extract);
  await once(extract, 'finish');
  return files;
}

function progressOf(stream) {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, lines) => (error ? reject(error) : resolve(lines))));
}

/** A container for a while. */
async function withContainer(options, use) {
  const container = await docker.createContainer({ Image: image, ...options });
  try {
    return await use(container);
  } finally {
    await container.remove({ force: true, v: true });
  }
}

const sleeps = { Cmd: ['sleep', '1000'] };
const parts = {
  async 'is there, and says what it is'() {
    assert.strictEqual((await docker.ping()).toString(), 'OK');
    const version = await docker.version();
    assert.ok(Number(version.ApiVersion) >= 1.41 && version.Os === 'linux' && version.Arch === 'amd64');
    const info = await docker.info();
    for (const key of ['ID', 'Name', 'NCPU', 'MemTotal', 'Driver', 'KernelVersion', 'OperatingSystem']) {
      assert.ok(info[key], key);
    }
    const df = await docker.df();
    assert.ok(df.Images.length > 0 && Array.isArray(df.Containers) && Array.isArray(df.Volumes));
  },
  async 'has images'() {
    assert.ok((await docker.listImages()).some((each) => each.RepoTags.includes(image + ':latest')));
    const one = docker.getImage(image);
    assert.ok((await one.inspect()).Config.Env.includes('PATH=/bin'));
    assert.ok(Array.isArray(await one.history()));
    await one.tag({ repo: 'suite', tag: 'tagged' });
    assert.deepStrictEqual(await docker.getImage('suite:tagged').remove(), [{ Untagged: 'suite:tagged' }]);
    await assert.rejects(docker.getImage('suite:none').inspect(), { statusCode: 404 });
  },
  async 'runs a command to its end'() {
    const out = new PassThrough();
    const text = textOf(out);
    const [result, container] = await docker.run(image, ['sh', '-c', 'echo said; exit 3'], out);
    out.end();
    assert.strictEqual(result.StatusCode, 3);
    assert.match(await text, /said\r\n/);
    await container.remove();
  },
  async 'attaches with an input'() {
    const options = { Cmd: ['sh', '-c', 'read x; echo got $x; echo bad >&2'], OpenStdin: true, StdinOnce: true,
      AttachStdin: true, AttachStdout: true, AttachStderr: true };
    await withContainer(options, async (container) => {
      const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
      const text = partsOf(stream);
      await container.start();
      stream.write('this\n');
      stream.end();
      assert.deepStrictEqual(await text, ['got this\n', 'bad\n']);
      assert.strictEqual((await container.wait()).StatusCode, 0);
    });
  },
  async 'runs further commands'() {
    await withContainer(sleeps, async (container) => {
      await container.start();
      const exec = await container.exec({ Cmd: ['sh', '-c', 'cat; echo $A; exit 5'], Env: ['A=b'],
        AttachStdin: true, AttachStdout: true, AttachStderr: true });
      const stream = await exec.start({ hijack: true, stdin: true });
      const text = partsOf(stream);
      stream.end('in\n');
      assert.deepStrictEqual(await text, ['in\nb\n', '']);
      const told = await exec.inspect();
      assert.deepStrictEqual([told.Running, told.ExitCode], [false, 5]);
      const processes = await container.top();
      assert.ok(processes.Processes.some((words) => words.join(' ').includes('sleep 1000')));
    });
  },
  async 'tells logs, of before and of now'() {
    await withContainer({ Cmd: ['sh', '-c', 'echo one; echo two >&2; sleep 1; echo three'] }, async (container) => {
      await container.start();
      const stream = await container.logs({ follow: true, stdout: true, stderr: true });
      const [out, errors] = await partsOf(stream);
      assert.deepStrictEqual([out, errors], ['one\nthree\n', 'two\n']);
      const tail = await container.logs({ stdout: true, tail: 1 });
      assert.strictEqual(tail.subarray(8).toString(), 'three\n');
    });
  },
  async 'is told of statistics'() {
    await withContainer(sleeps, async (container) => {
      await container.start();
      const once = await container.stats({ stream: false });
      assert.ok(once.memory_stats.usage > 0 && once.cpu_stats.cpu_usage.total_usage > 0);
      assert.strictEqual(once.name, (await container.inspect()).Name);
    });
  },
  async 'goes through a life'() {
    const name = 'suite-life';
    await withContainer({ ...sleeps, name, Labels: { of: 'suite' }, StopTimeout: 0 }, async (container) => {
      const state = async () => (await container.inspect()).State.Status;
      assert.strictEqual(await state(), 'created');
      await container.start();
      await assert.rejects(container.start(), { statusCode: 304 });
      await container.pause();
      assert.strictEqual(await state(), 'paused');
      await container.unpause();
      await container.restart({ t: 0 });
      assert.strictEqual(await state(), 'running');
      await container.rename({ name: name + '2' });
      const filters = { label: ['of=suite'], name: [name] };
      assert.deepStrictEqual((await docker.listContainers({ filters })).map((each) => each.Names),
        [['/' + name + '2']]);
      const ends = container.wait({ condition: 'next-exit' });
      await container.kill({ signal: 'SIGKILL' });
      assert.strictEqual((await ends).StatusCode, 137);
      assert.strictEqual(await state(), 'exited');
      await assert.rejects(container.kill(), { statusCode: 409 });
      await assert.rejects(docker.createContainer({ Image: image, name: name + '2' }), { statusCode: 409 });
    });
    await assert.rejects(docker.getContainer(name).inspect(), { statusCode: 404 });
  },
  async 'copies and commits'() {
    await withContainer({ Cmd: ['true'] }, async (container) => {
      await container.putArchive(archive({ 'put/file': 'content' }), { path: '/' });
      const stat = (await container.infoArchive({ path: '/put/file' })).headers['x-docker-container-path-stat'];
      assert.strictEqual(JSON.parse(Buffer.from(stat, 'base64').toString()).size, 7);
      assert.deepStrictEqual(await filesOf(await container.getArchive({ path: '/put/file' })), { file: 'content' });
      assert.ok((await container.changes()).some((each) => each.Path === '/put/file' && each.Kind === 1));
      // Its options go into the query and, with a configuration, into the body.
      await container.commit({ repo: 'suite', tag: 'committed', Env: ['B=c'], Labels: { of: 'suite' } });
      const { Env, Labels } = (await docker.getImage('suite:committed').inspect()).Config;
      assert.ok(Env.includes('B=c') && Env.includes('PATH=/bin') && Labels.of === 'suite');
      const stream = new PassThrough();
      const text = textOf(stream);
      const [, made] = await docker.run('suite:committed', ['cat', '/put/file'], stream);
      stream.end();
      assert.strictEqual(await text, 'content');
      await made.remove();
    });
    await docker.getImage('suite:committed').remove();
  },
  async 'builds'() {
    const file = `FROM ${image}\nCOPY page /page\nRUN cat /page >/again\nCMD ["cat", "/again"]\n`;
    const lines = await progressOf(await docker.buildImage(archive({ Dockerfile: file, page: 'a page' }),
      { t: 'suite:built' }));
    assert.ok(lines.some((line) => /Successfully tagged suite:built/.test(line.stream)));
    const stream = new PassThrough();
    const text = textOf(stream);
    const [, made] = await docker.run('suite:built', [], stream);
    stream.end();
    assert.strictEqual(await text, 'a page');
    await made.remove();
    await docker.getImage('suite:built').remove();
    const broken = await progressOf(await docker.buildImage(archive({ Dockerfile: `FROM ${image}\nRUN exit 4\n` }), {}))
      .catch((error) => [{ error: error.message }]);
    assert.match(broken.pop().error, /non-zero code: 4/);
    await docker.pruneContainers();
  },
  async 'saves and loads'() {
    await docker.getImage(image).tag({ repo: 'suite', tag: 'saved' });
    const saved = Buffer.from(await (async () => {
      const all = [];
      for await (const part of await docker.getImage('suite:saved').get()) all.push(part);
      return Buffer.concat(all);
    })());
    await docker.getImage('suite:saved').remove();
    const stream = new PassThrough();
    stream.end(saved);
    await progressOf(await docker.loadImage(stream));
    await docker.getImage('suite:saved').remove();
  },
  async 'has volumes and networks'() {
    const volume = await docker.createVolume({ Name: 'suite-volume', Labels: { of: 'suite' } });
    const network = await docker.createNetwork({ Name: 'suite-network', Labels: { of: 'suite' } });
    try {
      assert.strictEqual((await volume.inspect()).Labels.of, 'suite');
      const filters = JSON.stringify({ label: ['of=suite'] });
      assert.deepStrictEqual((await docker.listVolumes({ filters })).Volumes.map((each) => each.Name), ['suite-volume']);
      assert.deepStrictEqual((await docker.listNetworks({ filters })).map((each) => each.Name), ['suite-network']);
      const options = { Cmd: ['sh', '-c', 'echo kept >/v/file; sleep 1000'],
        HostConfig: { Binds: ['suite-volume:/v'], NetworkMode: 'suite-network' } };
      await withContainer(options, async (container) => {
        await container.start();
        const told = await container.inspect();
        assert.strictEqual(told.Mounts[0].Name, 'suite-volume');
        assert.ok(told.NetworkSettings.Networks['suite-network'].IPAddress);
        assert.ok((await network.inspect()).Containers[container.id]);
        await assert.rejects(volume.remove(), { statusCode: 409 });
        await assert.rejects(network.remove(), { statusCode: 403 });
      });
    } finally {
      await volume.remove();
      await network.remove();
    }
  },
  async 'hears of what happens'() {
    const events = await docker.getEvents({ filters: { type: ['container'], event: ['create', 'destroy'], label: ['of=events'] } });
    const heard = [];
    const enough = new Promise((resolve) => {
      events.on('data', (part) => {
        heard.push(...part.toString().trim().split('\n').map((line) => JSON.parse(line).Action));
        if (heard.length >= 2) resolve();
      });
    });
    await withContainer({ Cmd: ['true'], Labels: { of: 'events' } }, async () => {});
    await enough;
    events.destroy();
    assert.deepStrictEqual(heard, ['create', 'destroy']);
  },
  async 'knows of health'() {
    const options = { ...sleeps, Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 1e9 } };
    await withContainer(options, async (container) => {
      await container.start();
      for (let tries = 0; tries < 60 && (await container.inspect()).State.Health.Status !== 'healthy'; ++tries) {
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      assert.strictEqual((await container.inspect()).State.Health.Status, 'healthy');
    });
  },
  async 'prunes'() {
    const container = await docker.createContainer({ Image: image, Cmd: ['true'], Labels: { of: 'prune' } });
    const filters = JSON.stringify({ label: ['of=prune'] });
    const pruned = await docker.pruneContainers({ filters });
    assert.deepStrictEqual(pruned.ContainersDeleted, [container.id]);
    for (const call of ['pruneImages', 'pruneVolumes', 'pruneNetworks', 'pruneBuilder']) await docker[call]({ filters });
  },
};

(async () => {
  let failed = 0;
  for (const [name, part] of Object.entries(parts)) {
    try {
      await part();
      console.log('passed: ' + name);
    } catch (error) {
      ++failed;
      console.log(`FAILED: ${name}: ${error.stack}`);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
})();
