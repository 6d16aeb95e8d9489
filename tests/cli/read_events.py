"""Prints what TensorBoard's own reader finds in a run's event files, as one JSON object; exit 77 if it is not installed."""
import json
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("PyPI's tensorboard is not installed")
    sys.exit(77)

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}).Reload()
tags = events.Tags()
print(json.dumps({
    "scalars": {tag: [[s.step, s.value] for s in events.Scalars(tag)] for tag in tags["scalars"]},
    "images": {tag: [[i.step, i.width, i.height] for i in events.Images(tag)] for tag in tags["images"]},
    "histograms": {tag: [[h.step, h.histogram_value.num] for h in events.Histograms(tag)] for tag in tags["histograms"]},
    "texts": {tag: [t.tensor_proto.string_val[0].decode() for t in events.Tensors(tag)] for tag in tags["tensors"]},
}))
