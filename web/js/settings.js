// The pack's page in ComfyUI's settings. The nodes read the values from where ComfyUI stores them (nodes/settings.py).

import { app } from "../../../scripts/app.js";

app.registerExtension({
  name: "ParagonSR.settings",
  settings: [
    {
      id: "ParagonSR.Precision",
      category: ["ParagonSR", "Speed and memory", "Precision"],
      name: "Default precision",
      tooltip:
        "What precision: auto means on ParagonSR's nodes. auto: half precision on a CUDA card where the model holds it, fp32 elsewhere.",
      type: "combo",
      options: ["auto", "fp32", "fp16", "bf16"],
      defaultValue: "auto",
    },
    {
      id: "ParagonSR.TileMemory",
      category: ["ParagonSR", "Speed and memory", "TileMemory"],
      name: "Memory for tiles of automatic size (GiB)",
      tooltip: "0: what is free on the device when a node runs. Give less to leave room for other programs.",
      type: "number",
      attrs: { min: 0, max: 1024, step: 0.5, maxFractionDigits: 1 },
      defaultValue: 0,
    },
  ],
});
