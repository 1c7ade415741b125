// A library for LD_PRELOAD that tells which files a program changes, in which order, and can kill it in
// between, or be a slow disk.
//   TRACE_FOLDER   calls on paths below it are traced
//   TRACE_LOG      lines go to TRACE_LOG.PID: begin, end (nanoseconds of one clock for all processes), call,
//                  path, second path or -, result; separated by tabs
//   TRACE_KILL     the process that makes the call of this number (counted from 1) is killed before it does
//   TRACE_SYNC_MS  every sync takes so many milliseconds longer
//   TRACE_READ_MS  so does every pread
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(name, ...) (((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__))

// Makes a call and traces it. The paths are looked up before: a close or a rename changes them.
#define TRACE(name, path, other, ...)                        \
  do {                                                       \
    const char *path_ = (path), *other_ = (other);           \
    const int traced_ = below(path_) || below(other_);       \
    const long begin_ = traced_ ? begin(#name) : 0;          \
    const long result_ = (long)REAL(name, __VA_ARGS__);      \
    if (traced_) end(begin_, #name, path_, other_, result_); \
    return result_;                                          \
  } while (0)

static int calls;

static int below(const char* path) {
  const char* folder = getenv("TRACE_FOLDER");
  return path && folder && strncmp(path, folder, strlen(folder)) == 0;
}

static long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000L + time.tv_nsec;
}

static long begin(const char* call) {
  const char *last = getenv("TRACE_KILL"), *slow = getenv("TRACE_SYNC_MS");
  if (last && __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) == atoi(last)) raise(SIGKILL);
  if (slow && strcmp(call, "fsync") == 0) usleep((useconds_t)atoi(slow) * 1000);
  return now();
}

static void end(long begin, const char* call, const char* path, const char* other, long result) {
  const int error = errno;
  const char* log = getenv("TRACE_LOG");
  if (log) {
    char name[4096], line[12800];
    snprintf(name, sizeof name, "%s.%d", log, getpid());
    const int length = snprintf(line, sizeof line, "%ld\t%ld\t%s\t%s\t%s\t%ld\n", begin, now(), call,
                                path ? path : "-", other ? other : "-", result);
    const int file = REAL(open, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || REAL(write, file, line, (size_t)length) != length) abort();
    REAL(close, file);
  }
  errno = error;
}

// The path of an open file, in a buffer of the caller's.
static const char* path_of(int file, char* buffer, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, buffer, size - 1);
  if (length < 0) return NULL;
  buffer[length] = 0;
  return buffer;
}

// The path of an entry of an open folder.
static const char* path_at(int folder, const char* path, char* buffer, size_t size) {
  if (path[0] == '/' || folder == AT_FDCWD || !path_of(folder, buffer, size)) return path;
  const size_t used = strlen(buffer);
  snprintf(buffer + used, size - used, "/%s", path);
  return buffer;
}

#define OPEN(name)                                          \
  int name(const char* path, int flags, ...) {              \
    va_list more;                                           \
    va_start(more, flags);                                  \
    const mode_t mode = va_arg(more, mode_t);               \
    va_end(more);                                           \
    if (!(flags & O_CREAT)) return REAL(name, path, flags); \
    TRACE(name, path, NULL, path, flags, mode);             \
  }
OPEN(open)
OPEN(open64)

#define ON_FILE(type, name, declaration, ...)                             \
  type name declaration {                                                 \
    char buffer[4096];                                                    \
    TRACE(name, path_of(file, buffer, sizeof buffer), NULL, __VA_ARGS__); \
  }
ON_FILE(int, close, (int file), file)
ON_FILE(int, fsync, (int file), file)
ON_FILE(int, fdatasync, (int file), file)
ON_FILE(int, ftruncate, (int file, off_t size), file, size)
ON_FILE(int, ftruncate64, (int file, off64_t size), file, size)
ON_FILE(ssize_t, write, (int file, const void* bytes, size_t count), file, bytes, count)
ON_FILE(ssize_t, pwrite, (int file, const void* bytes, size_t count, off_t at), file, bytes, count, at)
ON_FILE(ssize_t, pwrite64, (int file, const void* bytes, size_t count, off64_t at), file, bytes, count, at)

ssize_t pread(int file, void* bytes, size_t count, off_t at) {
  char buffer[4096];
  const char* slow = getenv("TRACE_READ_MS");
  if (slow && below(path_of(file, buffer, sizeof buffer))) usleep((useconds_t)atoi(slow) * 1000);
  return REAL(pread, file, bytes, count, at);
}

int mkdir(const char* path, mode_t mode) { TRACE(mkdir, path, NULL, path, mode); }
int unlink(const char* path) { TRACE(unlink, path, NULL, path); }
int remove(const char* path) { TRACE(remove, path, NULL, path); }
int symlink(const char* target, const char* path) { TRACE(symlink, path, target, target, path); }
int rename(const char* from, const char* to) { TRACE(rename, from, to, from, to); }

int unlinkat(int folder, const char* path, int flags) {
  char buffer[4096];
  TRACE(unlinkat, path_at(folder, path, buffer, sizeof buffer), NULL, folder, path, flags);
}

int renameat2(int a, const char* from, int b, const char* to, unsigned flags) {
  TRACE(renameat2, from, to, a, from, b, to, flags);
}
