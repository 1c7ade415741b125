#include "data/config.h"

namespace pscale {

void DataConfig::describe(ConfigSection& section) {
  section.add("train", train,
              "Token files to train on, without .bin and .idx: what pscale_data prepare --out was given; or a list of them, "
              "mixed by weight, without weights by size");
  section.add("validation", validation,
              "Token files to validate on, or a list as in data.train; none: the last documents of those of data.train");
  section.add("validation_fraction", validation_fraction,
              "Documents of each of data.train kept for validation, as a part of all; not used with data.validation",
              at_least_below(0, 1));
  section.add("validation_interval", validation_interval, "Steps between validations; 0: no validation",
              at_least(0));
  section.add("validation_samples", validation_samples, "Sequences of a validation from each of the files, the same ones every time",
              at_least(1));
  section.add("pack", pack,
              "stream: attention runs through a sequence; document: it ends at document borders, where positions start again",
              one_of({"stream", "document"}));
}

}  // namespace pscale
