// Only in the sanitizer build, linked into the programs that start MPI. Open MPI unloads its modules at the end, and a
// leak's stack in a module that is gone has no name to suppress it by. So nothing is unloaded.
extern "C" int dlclose(void*) { return 0; }
