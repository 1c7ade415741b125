// Typed configuration: declare (config_section.h), read (config_read.h), print (config_print.h).
#pragma once

#include "core/base/config_print.h"
#include "core/base/config_read.h"
#include "core/base/config_section.h"
