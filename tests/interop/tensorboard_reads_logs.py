"""Does TensorBoard's own reader open the event files below a log folder? Prints what it finds."""
import sys
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

files = sorted(Path(sys.argv[1]).rglob("events.out.tfevents.*"))
assert files, "no event files"
for file in files:
    events = EventAccumulator(str(file))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert "epoch_loss" in tags, (file, tags)
    for tag in tags:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == list(range(steps[0], steps[0] + len(steps))), (file, tag, steps)
    print(file.parent.name, tags, [round(event.value, 4) for event in events.Scalars("epoch_loss")])
