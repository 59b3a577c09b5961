"""What the executor asks of Ray, by a Ray that runs each task when asked."""

from __future__ import annotations

import sys
import types

import pytest

from rigl_rl.sweeps.executors import jobs, ray


class _RayError(Exception):
  pass


class _Ray(types.ModuleType):
  """One node of 4 cores and 2 GPUs; a task ends when its job is named."""

  exceptions = types.SimpleNamespace(RayError=_RayError)

  def __init__(self):
    super().__init__('ray')
    self.started, self.options, self.calls, self.cancelled = [], [], [], []
    self.ended = {}
    self.is_up = False

  def init(self, **options):
    if options['address'] == 'nowhere':
      raise ConnectionError('no cluster\nat all')
    self.is_up = True
    self.options.append(options)

  def shutdown(self):
    self.is_up = False

  def cluster_resources(self):
    return {'CPU': 4.0, 'GPU': 2.0}

  def remote(self, **options):
    self.options.append(options)

    def start(*arguments):
      self.started.append(arguments)
      return len(self.started) - 1

    return lambda task: types.SimpleNamespace(remote=start)

  def wait(self, references, num_returns, timeout):
    assert references and num_returns <= len(references)
    done = [r for r in references if r in self.ended][:num_returns]
    return done, [r for r in references if r not in done]

  def get(self, reference):
    result = self.ended[reference]
    if isinstance(result, Exception):
      raise result
    return result

  def cancel(self, reference, force):
    assert force
    self.cancelled.append(reference)


@pytest.fixture
def fake(monkeypatch):
  fake = _Ray()
  monkeypatch.setitem(sys.modules, 'ray', fake)
  monkeypatch.delenv('RAY_ADDRESS', raising=False)
  monkeypatch.setattr(ray, '_PATIENCE', 0)
  return fake


@pytest.fixture
def make_job(tmp_path):
  run = types.SimpleNamespace(description=lambda: {'label': 'RigL'})

  def make(name):
    return jobs.Job(run, str(tmp_path / name), ('train', name))

  return make


def test_a_job_is_a_task_of_one_core(fake, make_job):
  executor = ray.RayExecutor(workers=2)
  cluster, task = fake.options
  assert cluster['num_cpus'] == 2 and cluster['address'] is None
  assert task == {'num_cpus': 1, 'max_retries': 0, 'max_calls': 1}
  first, second = make_job('a'), make_job('b')
  assert executor.capacity == 2 and executor.wait() == []
  executor.start(first)
  executor.start(second)
  assert executor.capacity == 0
  command, python, log, _, environment = fake.started[1]
  assert command[-2:] == ['train', 'b'] and command[0] == python
  assert '--parent=0' in command and log == second.log
  assert environment['OMP_NUM_THREADS'] == '1'
  fake.ended[1] = 3
  assert executor.wait() == [(second, 3)]
  assert executor.capacity == 1 and list(executor.running.values()) == [first]


def test_a_lost_node_is_a_failure(fake, make_job):
  executor = ray.RayExecutor()
  assert executor.workers == 4
  job = make_job('a')
  executor.start(job)
  fake.ended[0] = _RayError('the node\nis gone')
  assert executor.wait() == [(job, 1)]
  assert job.failure(1) == 'Ray: the node is gone'


def test_stopping_returns_what_has_ended(fake, make_job):
  executor = ray.RayExecutor()
  ended, running = make_job('a'), make_job('b')
  executor.start(ended)
  executor.start(running)
  fake.ended[0] = 0
  assert executor.stop() == [(ended, 0)]
  assert fake.cancelled == [1] and not executor.running and not fake.is_up
  assert executor.stop() == []


def test_runs_share_gpus(fake):
  assert ray.RayExecutor(workers_per_gpu=1).workers == 2
  assert fake.options[-1]['num_gpus'] == 1
  assert ray.RayExecutor(workers_per_gpu=3).workers == 4
  assert fake.options[-1]['num_gpus'] == pytest.approx(1 / 3)


def test_no_cluster(fake, user_error):
  with user_error("--ray_address is 'nowhere'", 'no cluster'):
    ray.RayExecutor(address='nowhere')


def test_a_node_that_does_not_start(fake, monkeypatch, user_error):
  def init(**options):
    raise Exception('The node timed out\nat all')

  monkeypatch.setattr(fake, 'init', init)
  with user_error("--executor is 'ray'", 'started or reached: The node timed'):
    ray.RayExecutor()


def test_an_existing_cluster_is_not_configured(fake):
  ray.RayExecutor(workers=3, address='auto')
  assert 'num_cpus' not in fake.options[0]
