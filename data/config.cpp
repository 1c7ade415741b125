#include "data/config.h"

namespace pscale {

void DataConfig::describe(ConfigSection& section) {
  section.add("train", train,
              "Token files to train on, without .bin and .idx: what pscale_data prepare --out was given");
  section.add("validation", validation, "Token files to validate on; none: the last documents of data.train");
  section.add("validation_fraction", validation_fraction,
              "Documents of data.train kept for validation, as a part of all; not used with data.validation",
              at_least_below(0, 1));
  section.add("validation_interval", validation_interval, "Steps between validations; 0: no validation",
              at_least(0));
  section.add("validation_samples", validation_samples, "Sequences of a validation, the same ones every time",
              at_least(1));
}

}  // namespace pscale
