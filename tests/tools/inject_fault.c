// A library for LD_PRELOAD that damages a message of MPI on one rank, as a bad cable or memory would. For runs with
// parallel.transport = "mpi" over the data axis alone, where sums of gradients are the only reduce-scatters and updated
// weights the only all-gathers of floats.
//   FAULT_KIND   nan: the first gradient that the rank sends is NaN
//                flip: the lowest bit of the first weight that it receives is flipped
//   FAULT_RANK   the rank
//   FAULT_CALL   the number of that call, from 1
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <mpi.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int is_due(const char* kind, MPI_Datatype type) {
  static int calls = 0;
  const char *wanted = getenv("FAULT_KIND"), *rank = getenv("FAULT_RANK"), *call = getenv("FAULT_CALL");
  const char* own = getenv("OMPI_COMM_WORLD_RANK");
  if (!wanted || !rank || !call || !own || strcmp(wanted, kind) || strcmp(rank, own) || type != MPI_FLOAT) return 0;
  return ++calls == atoi(call);
}

int MPI_Ireduce_scatter_block(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm group,
                              MPI_Request* request) {
  if (is_due("nan", type)) *(float*)send = NAN;  // a copy that was made for this call
  return PMPI_Ireduce_scatter_block(send, receive, count, type, op, group, request);
}

static MPI_Request damaged = NULL;
static uint32_t* word = NULL;

int MPI_Iallgather(const void* send, int count, MPI_Datatype type, void* receive, int receive_count, MPI_Datatype receive_type,
                   MPI_Comm group, MPI_Request* request) {
  const int code = PMPI_Iallgather(send, count, type, receive, receive_count, receive_type, group, request);
  if (is_due("flip", receive_type)) {
    int rank = 0, size = 1;
    MPI_Comm_rank(group, &rank);
    MPI_Comm_size(group, &size);
    damaged = *request;
    word = (uint32_t*)receive + (size_t)((rank + 1) % size) * (size_t)receive_count;
  }
  return code;
}

int MPI_Test(MPI_Request* request, int* done, MPI_Status* status) {
  const int due = word && *request == damaged;
  const int code = PMPI_Test(request, done, status);
  if (due && *done) {
    *word ^= 1;
    word = NULL;
  }
  return code;
}
