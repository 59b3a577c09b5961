"""What holds for all tests: the frameworks' start-up messages are off."""

import os

# Read once, when TensorFlow is first imported: so before any test module.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')
