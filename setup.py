"""Packaging of rigl_rl.

The ranges here say what the code can work with. `constraints.txt` pins one
set inside them, with every transitive dependency, that is known to work:
`pip install -c constraints.txt -e .[test]`.
"""

import os

import setuptools

_ROOT = os.path.dirname(os.path.abspath(__file__))

_INSTALL_REQUIRES = [
  # The last release on Keras 2, which tf-agents and TFP 0.23 are written for.
  'tensorflow==2.15.1',
  # SAC, PPO and TD3; its last release, tied to TF 2.15 and Python <= 3.11.
  'tf-agents==0.19.0',
  # DQN, its Runner and replay buffer; the last release with a TF agent that
  # neither needs the undeclared `baselines` package nor tf-keras.
  'dopamine-rl==4.0.9',
  # Every configuration file; the version both frameworks are written for.
  'gin-config>=0.5,<0.6',
  # Classic control and MuJoCo tasks; 1.x tells terminated from truncated.
  'gymnasium[mujoco]>=1.1,<2',
  # Physics of the MuJoCo tasks; mj_getState and mj_setState came with 3.0.
  'mujoco>=3.2,<5',
  # Atari; from 0.10 on the ROMs are in the package and it is plain gymnasium.
  'ale-py>=0.10,<0.13',
  # IQM and stratified bootstrap intervals of the result figures.
  'rliable>=1.2,<2',
  # TF 2.15 is compiled against NumPy 1.
  'numpy>=1.26,<2',
  # Evaluation tables; 3.x drops Python 3.9 and 3.10.
  'pandas>=2.0,<4',
  # The learning curve of a run and the figures.
  'matplotlib>=3.7,<4',
  # GIFs of evaluated runs; matplotlib needs it too.
  'pillow>=9,<13',
  # Stacks and resizes frames; 4.12 and later need NumPy 2.
  'opencv-python>=4.5,<4.12',
  # Logging, as both frameworks do it.
  'absl-py>=1.0',
  # The progress bar.
  'tqdm>=4.64,<5',
  # TensorBoard 2.15 imports pkg_resources, which setuptools 81 drops; 80
  # prints a warning each time it is imported.
  'setuptools>=64,<80',
]

_EXTRAS_REQUIRE = {
  # Replay in a Reverb server; the release built for TF 2.15 (Linux x86-64).
  'reverb': ['dm-reverb==0.14.0'],
  # Sweeps spread over cores or machines.
  'ray': ['ray>=2.40,<3'],
  # The CUDA libraries that TF 2.15.1 was built with.
  'gpu': ['tensorflow[and-cuda]==2.15.1'],
  # What tests/run.sh runs; wheel, because a test builds one.
  'test': ['pytest>=8,<10', 'ruff>=0.12,<1', 'wheel>=0.40'],
}


def _long_description() -> str:
  path = os.path.join(_ROOT, 'README.md')
  if not os.path.exists(path):
    return ''
  with open(path, encoding='utf-8') as f:
    return f.read()


setuptools.setup(
  name='rigl-rl',
  version='0.1.0',
  description=(
    'Sparse training for deep reinforcement learning, on Dopamine and TF-Agents'
  ),
  long_description=_long_description(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  python_requires='>=3.9,<3.12',
  packages=setuptools.find_packages(
    include=['rigl_rl', 'rigl_rl.*', 'launch', 'launch.*', 'gin_configs']
  ),
  package_data={
    'gin_configs': ['*.gin', '**/*.gin'],
    # Compiled where the package is used.
    'rigl_rl.kernels': ['*.cc', '*.h'],
  },
  install_requires=_INSTALL_REQUIRES,
  extras_require=_EXTRAS_REQUIRE,
  entry_points={'console_scripts': ['rigl-rl = launch.__main__:main']},
  classifiers=[
    'Development Status :: 3 - Alpha',
    'Intended Audience :: Science/Research',
    'License :: OSI Approved :: Apache Software License',
    'Programming Language :: Python :: 3.9',
    'Programming Language :: Python :: 3.10',
    'Programming Language :: Python :: 3.11',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
)
