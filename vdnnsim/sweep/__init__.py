"""Design-space sweeps: many points from one spec, on this machine or a cluster, into a folder that survives crashes.

if __name__ == "__main__":  # processes begin by importing the script
    sweep = plan_sweep(Path("spec.toml"))
    run_sweep(sweep, Path("out"))
    frame = read_sweep(Path("out"))
"""

from vdnnsim.sweep.engines import Engine
from vdnnsim.sweep.plan import Sweep, plan_sweep
from vdnnsim.sweep.reading import Status, read_status, read_sweep
from vdnnsim.sweep.run import Progress, run_sweep

__all__ = ["Engine", "Progress", "Status", "Sweep", "plan_sweep", "read_status", "read_sweep", "run_sweep"]
