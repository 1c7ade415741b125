#include "launch/stop_request.h"

#include <pthread.h>
#include <signal.h>

namespace pscale {

namespace {

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  return signals;
}

}  // namespace

std::string sentence(StopReason reason) {
  switch (reason) {
    case StopReason::max_minutes: return "run.max_minutes are over";
    case StopReason::sigusr1: return "SIGUSR1 was received";
    case StopReason::sigterm: return "SIGTERM was received";
    default: return "nobody asked";
  }
}

StopRequest::StopRequest() {
  const sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  waiting_ = std::thread([this, signals] {
    for (int signal = 0; !ending_;)
      if (sigwait(&signals, &signal) == 0 && !ending_ && received_ == StopReason::none)
        received_ = signal == SIGTERM ? StopReason::sigterm : StopReason::sigusr1;
  });
}

StopRequest::~StopRequest() {
  ending_ = true;
  pthread_kill(waiting_.native_handle(), SIGUSR1);
  waiting_.join();
}

StopReason StopRequest::reason() const {
  if (const StopReason received = received_; received != StopReason::none) return received;
  const std::chrono::duration<double, std::ratio<60>> minutes = std::chrono::steady_clock::now() - start_;
  return max_minutes_ > 0 && minutes.count() >= max_minutes_ ? StopReason::max_minutes : StopReason::none;
}

}  // namespace pscale
