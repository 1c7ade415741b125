#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "core/base/errors.h"
#include "launch/program.h"
#include "launch/sweep/failure.h"
#include "launch/sweep/launcher.h"
#include "launch/sweep/run_record.h"
#include "launch/sweep/slurm_job.h"

namespace pscale {
namespace {

Surroundings place(std::map<std::string, std::string> variables, std::vector<std::string> programs,
                   bool pmix = true) {
  Surroundings around;
  around.variable = [=](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  around.has_program = [=](const std::string& name) {
    return std::find(programs.begin(), programs.end(), name) != programs.end();
  };
  around.srun_has_pmix = [=] { return pmix; };
  around.cores = 32;
  return around;
}
std::string words(const LaunchRequest& request, const Surroundings& around) {
  return shell_text(find_launch(request, around), {"train"});
}

TEST(Launcher, OutsideSlurmIsMpirunOrNothing) {
  const Surroundings around = place({}, {"mpirun", "srun"});
  EXPECT_EQ(words({}, around), "train");
  EXPECT_EQ(words({"auto", 4}, around), "mpirun -np 4 train");
  EXPECT_EQ(words({"mpirun", 1}, around), "mpirun -np 1 train");
  EXPECT_THROW(words({"srun", 2}, around), UserError);
  EXPECT_THROW(words({"none", 2}, around), UserError);
  EXPECT_THROW(words({"slurm", 2}, around), UserError);
  EXPECT_THROW(words({"auto", -1}, around), UserError);
  EXPECT_THROW(words({"auto", 2}, place({}, {})), UserError);
}

TEST(Launcher, InsideSlurmIsSrunWherePmixIs) {
  const std::map<std::string, std::string> job{{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}};
  EXPECT_EQ(words({}, place(job, {"mpirun", "srun"})),
            "OMP_NUM_THREADS=1 srun --mpi=pmix --export=ALL --ntasks=8 --wait=30 train");
  EXPECT_EQ(words({}, place(job, {"mpirun", "srun"}, false)),
            "OMP_NUM_THREADS=1 OMPI_MCA_odls_base_sigkill_timeout=15 mpirun -np 8 --bind-to none -x "
            "OMP_NUM_THREADS train");
  EXPECT_EQ(words({"mpirun"}, place(job, {"mpirun", "srun"})),
            "OMP_NUM_THREADS=1 OMPI_MCA_odls_base_sigkill_timeout=15 mpirun -np 8 --bind-to none -x "
            "OMP_NUM_THREADS train");
  EXPECT_THROW(words({}, place(job, {"srun"}, false)), UserError);
  EXPECT_EQ(words({"auto", 2}, place(job, {"srun"})),
            "OMP_NUM_THREADS=1 srun --mpi=pmix --export=ALL --ntasks=2 --wait=30 train");
}

TEST(Launcher, OneRankOnPurposeDoesNotMissTheOthers) {
  const std::map<std::string, std::string> job{{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "8"}};
  EXPECT_THROW(words({"none"}, place(job, {})), UserError);
  EXPECT_EQ(words({"none", 1}, place(job, {})), "OMP_NUM_THREADS=1 SLURM_NTASKS=1 train");
}

TEST(Launcher, ThreadsAndBindingFollowTheAllocation) {
  std::map<std::string, std::string> job{{"SLURM_JOB_ID", "7"},
                                         {"SLURM_NTASKS", "16"},
                                         {"SLURM_JOB_NUM_NODES", "2"},
                                         {"SLURM_CPUS_PER_TASK", "4"}};
  EXPECT_EQ(words({}, place(job, {"srun"})),
            "OMP_NUM_THREADS=4 srun --mpi=pmix --export=ALL --ntasks=16 --cpus-per-task=4 --wait=30 train");
  EXPECT_EQ(words({"mpirun"}, place(job, {"mpirun"})),
            "OMP_NUM_THREADS=4 OMPI_MCA_odls_base_sigkill_timeout=15 mpirun -np 16 --map-by slot:PE=4 "
            "--bind-to core -x OMP_NUM_THREADS train");
  job["OMP_NUM_THREADS"] = "2";  // the user's own
  EXPECT_EQ(words({}, place(job, {"srun"})),
            "srun --mpi=pmix --export=ALL --ntasks=16 --cpus-per-task=4 --wait=30 train");
}

TEST(Launcher, GpusAloneGiveARankEach) {
  const std::map<std::string, std::string> job{
      {"SLURM_JOB_ID", "7"}, {"SLURM_GPUS_ON_NODE", "8"}, {"SLURM_JOB_NUM_NODES", "2"}};
  EXPECT_EQ(words({}, place(job, {"srun"})),
            "OMP_NUM_THREADS=1 srun --mpi=pmix --export=ALL --ntasks=16 --gpu-bind=none --wait=30 train");
}

TEST(Launcher, ARankForEachGpuWhereTheScriptHasMoreTasks) {
  std::map<std::string, std::string> job{{"SLURM_JOB_ID", "7"},
                                         {"SLURM_NTASKS", "16"},
                                         {"SLURM_NTASKS_PER_NODE", "8"},
                                         {"SLURM_GPUS_ON_NODE", "4"},
                                         {"SLURM_JOB_NUM_NODES", "2"}};
  const LaunchRequest on_gpus{.gpus = true};
  const Surroundings around = place(job, {"srun", "mpirun"});
  EXPECT_EQ(words(on_gpus, around),
            "OMP_NUM_THREADS=1 srun --mpi=pmix --export=ALL --ntasks=8 --ntasks-per-node=4 --gpu-bind=none "
            "--wait=30 train");
  EXPECT_EQ(find_launch(on_gpus, around).note, "the job has 16 tasks and 8 GPUs: 8 ranks are started");
  EXPECT_NE(words({"mpirun", 0, true}, around).find("mpirun -np 8 --map-by ppr:4:node --bind-to none"),
            std::string::npos);
  // On the CPU, or where the user says how many, the GPUs do not count.
  EXPECT_EQ(find_launch({}, around).ranks, 16);
  EXPECT_EQ(find_launch({"auto", 12, true}, around).ranks, 12);
  EXPECT_EQ(find_launch({}, around).note, "");
  // salloc and --gpus have other variables.
  job.erase("SLURM_GPUS_ON_NODE");
  const auto ranks_with = [&](const char* name, const char* value) {
    auto variables = job;
    variables[name] = value;
    return find_launch(on_gpus, place(variables, {"srun"})).ranks;
  };
  EXPECT_EQ(ranks_with("SLURM_GPUS_PER_NODE", "a100:2"), 4);
  EXPECT_EQ(ranks_with("SLURM_GPUS", "5"), 5);
  EXPECT_EQ(ranks_with("SLURM_JOB_GPUS", "0,1,3"), 6);
  EXPECT_EQ(ranks_with("SLURM_GPUS_PER_NODE", "8"), 16);
}

TEST(Launcher, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_text({}, {"a=1,b", "x=[0, 1]", "it's", ""}), "a=1,b 'x=[0, 1]' 'it'\\''s' ''");
}

TEST(Launcher, SrunSaysWhatARankEndedWith) {
  EXPECT_EQ(srun_exit_code("srun: error: n1: tasks 0-1: Exited with exit code 75"), 75);
  EXPECT_EQ(srun_exit_code("srun: error: n1: task 1: Killed"), std::nullopt);
  EXPECT_EQ(srun_exit_code("error: Exited with exit code 2"), std::nullopt);
}

std::string fresh_folder() {
  std::string folder = testing::TempDir() + "pscale_launch_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  return folder;
}

// A stand-in for srun, which starts nothing in its first `failures` calls and says so as srun does.
Launch stand_in(const std::string& folder, int failures) {
  const std::string script = folder + "/srun";
  std::ofstream(script) << "#!/bin/sh\necho >> " << folder << "/calls\n[ $(wc -l < " << folder
                        << "/calls) -gt " << failures << " ] && exec \"$@\"\n"
                        << "echo 'srun: error: task 0 launch failed: Unspecified error' >&2\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  return {.ranks = 1, .words = {script}, .environment = {}};
}

TEST(Launcher, AStepThatSlurmCouldNotStartIsTriedAgain) {
  const std::string folder = fresh_folder();
  int retries = 0;
  EXPECT_EQ(run_launched(stand_in(folder, 2), {"sh", "-c", "exit 75"}, {}, [&] { ++retries; }).code, 75);
  EXPECT_EQ(retries, 2);
}

TEST(Launcher, RankZeroSavedWhateverTheLauncherEndedWith) {
  const Launch plain{.ranks = 1, .words = {}, .environment = {}};
  const std::string write = cat("echo $CODE > $", kExitCodeFile, "; exit 205");
  const auto ended = [&](const std::string& code) {
    return run_launched(plain, {"env", "CODE=" + code, "sh", "-c", write}, {}).code;
  };
  EXPECT_EQ(ended("75"), kExitRunAgain);
  EXPECT_EQ(ended("0"), 205);
  EXPECT_EQ(ended("2"), 205);
  EXPECT_EQ(run_launched(plain, {"sh", "-c", "exit 3"}, {}).code, 3);
}

TEST(Launcher, AStepThatSlurmNeverStartsHasFailed) {
  const std::string folder = fresh_folder();
  EXPECT_EQ(run_launched(stand_in(folder, 100), {"true"}, {}).code, kExitFailed);
  std::ifstream calls(folder + "/calls");
  EXPECT_EQ(std::count(std::istreambuf_iterator<char>(calls), {}, '\n'), 3);
}

TEST(ChildProcess, AQuestionThatTakesLongIsGivenUp) {
  EXPECT_EQ(output_of({"echo", "yes"}), "yes\n");
  std::stop_source source;
  const auto begun = std::chrono::steady_clock::now();
  std::thread asking([&] { EXPECT_EQ(output_of({"sleep", "20"}, source.get_token()), std::nullopt); });
  source.request_stop();
  asking.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST(RunRecord, WithoutLocksItsProcessAndItsAgeTell) {
  RunRecord record;
  record.running = true;
  record.host = host_name();
  record.process = getppid();  // lives
  EXPECT_TRUE(alive_without_lock(record, 10));
  EXPECT_FALSE(alive_without_lock(record, kSilentSeconds + 1));
  record.host = "elsewhere";
  EXPECT_FALSE(alive_without_lock(record, 10));
  record.host = host_name();
  record.process = 1 << 30;  // beyond what Linux gives
  EXPECT_FALSE(alive_without_lock(record, 10));
  record.process = getpid();  // of its earlier life: a number may come again
  EXPECT_FALSE(alive_without_lock(record, 10));
  record.process = getppid();
  record.running = false;
  EXPECT_FALSE(alive_without_lock(record, 10));
}

TEST(SlurmJobs, DurationsAreSeconds) {
  EXPECT_EQ(slurm_seconds("1-02:03:04"), 93784);
  EXPECT_EQ(slurm_seconds("00:01:00"), 60);
  EXPECT_EQ(slurm_seconds("01:30"), 90);
  EXPECT_EQ(slurm_seconds("UNLIMITED"), std::nullopt);
  EXPECT_EQ(slurm_seconds("Partition_Limit"), std::nullopt);
  EXPECT_EQ(slurm_seconds(""), std::nullopt);
}

TEST(Failure, HasAReason) {
  EXPECT_EQ(failure_reason({.exit_code = 0}), "");
  EXPECT_EQ(failure_reason({.exit_code = 75}), "");
  EXPECT_EQ(failure_reason({.exit_code = 2, .errors = {"error: x.toml:3: train.max_steps"}}), "config");
  EXPECT_EQ(failure_reason(
                {.exit_code = 2,
                 .errors = {"error: step 9: 4 updates in a row had a loss or gradient that is not finite"}}),
            "NaN");
  EXPECT_EQ(failure_reason({.exit_code = 2,
                            .errors = {"error: step 9: 4 updates in a row had a loss spike "
                                       "(train.spike_z_score) or a loss or gradient that is not finite"}}),
            "loss spikes");
  EXPECT_EQ(failure_reason({.exit_code = 1, .errors = {"error: out of memory"}}), "out of memory");
  EXPECT_EQ(failure_reason({.exit_code = 137,
                            .errors = {"slurmstepd: error: Detected 1 oom-kill event(s) in StepId=3.0."}}),
            "out of memory");
  EXPECT_EQ(failure_reason({.exit_code = 137, .kernel_killed = true}), "out of memory");
  EXPECT_EQ(failure_reason({.exit_code = 137}), "killed by signal 9");
  EXPECT_EQ(failure_reason({.exit_code = 139}), "killed by signal 11");
  EXPECT_EQ(failure_reason({.exit_code = 143,
                            .errors = {"slurmstepd: error: *** STEP 3.0 ON n1 CANCELLED AT "
                                       "2026-01-01T00:00:00 DUE TO TIME LIMIT ***"}}),
            "time limit");
  EXPECT_EQ(failure_reason({.exit_code = 143,
                            .errors = {"slurmstepd: error: *** JOB 3 ON n1 CANCELLED AT 2026-01-01T00:00:00 "
                                       "DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***"}}),
            "node");
  EXPECT_EQ(
      failure_reason({.exit_code = 1, .errors = {"srun: error: task 0 launch failed: Unspecified error"}}),
      "node");
  EXPECT_EQ(failure_reason(
                {.exit_code = 143,
                 .asked_to_stop = true,
                 .errors = {"slurmstepd: error: *** STEP 3.0 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***"}}),
            "cancelled");
  EXPECT_EQ(failure_reason({.exit_code = 143, .asked_to_stop = true, .job_state = "TIMEOUT"}), "time limit");
  EXPECT_EQ(failure_reason({.exit_code = 138, .asked_to_stop = true, .job_state = "RUNNING"}),
            "stopped by a signal");
  EXPECT_EQ(failure_reason({.exit_code = 138, .asked_to_stop = true, .time_is_up = true}), "time limit");
  EXPECT_EQ(failure_reason({.exit_code = 1, .time_is_up = true}), "exit code 1");
  EXPECT_EQ(reason_of_job_state("NODE_FAIL"), "node");
  EXPECT_EQ(reason_of_job_state("OUT_OF_MEMORY"), "out of memory");
  EXPECT_EQ(reason_of_job_state("COMPLETED"), "");
}

}  // namespace
}  // namespace pscale
