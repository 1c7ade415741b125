// Prints "rewrites" or "plain": what find_console() makes of this program's standard output.
#include <iostream>

#include "launch/metrics/console.h"

int main() { std::cout << (pscale::find_console().rewrites ? "rewrites" : "plain") << '\n'; }
