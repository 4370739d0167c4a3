"""``python -m vdnnsim.builder`` runs the command of `vdnnsim_builder`, which comes with vdnnsim."""

import runpy

if __name__ == "__main__":
    runpy.run_module("vdnnsim_builder", run_name="__main__", alter_sys=True)
