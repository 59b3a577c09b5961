"""What breaks without a private name of TensorFlow."""

import tensorflow as tf

from rigl_rl.compat import tensorflow as compat


def test_writer_resource(tmp_path):
  """Without it no event says that a run was resumed.

  TensorBoard and SNR figures would then show steps twice, of the process that
  was killed and of the one that went on.
  """
  writer = tf.summary.create_file_writer(str(tmp_path))
  event = tf.compat.v1.Event(step=7)
  tf.raw_ops.ImportEvent(
    writer=compat.writer_resource(writer), event=event.SerializeToString()
  )
  writer.close()
  (path,) = tmp_path.iterdir()
  steps = [e.step for e in tf.compat.v1.train.summary_iterator(str(path))]
  assert steps == [0, 7]
