// Puts the parts together.

import { showAction } from "./action.js";
import { listenToDivider } from "./compare.js";
import { showExamples } from "./examples.js";
import { listenToKeys } from "./keys.js";
import { listenToPanel, loadModels, showPanel } from "./panel.js";
import { listenToPointers } from "./pointers.js";
import { listenToDrops } from "./sources.js";
import { showStage } from "./stage.js";
import { changed, onChange } from "./state.js";

onChange(showPanel);
onChange(showAction);
onChange(showStage);
showExamples();
listenToPanel();
listenToDrops();
listenToPointers();
listenToKeys();
listenToDivider();
changed();
loadModels();
