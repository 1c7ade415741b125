#include "parallel/grads/drift.h"

#include <algorithm>
#include <map>

#include "core/base/hash.h"
#include "parallel/comm/texts.h"

namespace pscale {

namespace {

constexpr Purpose kDrift{"drift"};

/// [ranks][count] hashes of the group. Two int32 for each: collectives move bits, whatever the type.
std::vector<uint64_t> gather(Communicator& group, const std::vector<uint64_t>& own) {
  std::vector<uint64_t> all(own.size() * static_cast<size_t>(group.size()));
  group.all_gather(own.data(), all.data(), 2 * static_cast<int64_t>(own.size()), DType::int32, kDrift).wait();
  return all;
}

/// ranks[i] holds hashes[i].
std::string sentence(const std::string& name, const std::vector<int64_t>& ranks, const std::vector<uint64_t>& hashes) {
  std::map<uint64_t, std::vector<int64_t>> holders;
  for (size_t i = 0; i < ranks.size(); ++i) holders[hashes[i]].push_back(ranks[i]);
  std::vector<std::vector<int64_t>> groups;
  for (const auto& [hash, members] : holders) groups.push_back(members);
  std::sort(groups.begin(), groups.end(),
            [](const auto& a, const auto& b) { return a.size() != b.size() ? a.size() > b.size() : a[0] < b[0]; });
  const auto text = [](const std::vector<int64_t>& members) { return cat(members.size() > 1 ? "ranks " : "rank ", join(members, ", ")); };
  if (2 * groups[0].size() > ranks.size()) {
    std::vector<int64_t> others;
    for (size_t g = 1; g < groups.size(); ++g) others.insert(others.end(), groups[g].begin(), groups[g].end());
    std::sort(others.begin(), others.end());
    return cat(name, " on ", text(others), " differs from that of ", text(groups[0]));
  }
  std::vector<std::string> each;
  for (const auto& members : groups) each.push_back(text(members));
  return cat(name, " differs between ", join(each, " and "));
}

}  // namespace

std::vector<Replicated> replicated_parameters(const ParameterSet& parameters) {
  std::vector<Replicated> held;
  for (const Parameter& p : parameters.all()) {
    const Tensor& local = p.local();
    held.push_back({p.spec().name, p.replicated_over(), hash_of(local.address(), static_cast<size_t>(local.bytes()))});
  }
  return held;
}

std::vector<std::string> drifted(const Mesh& mesh, const std::vector<Replicated>& held) {
  std::map<AxisSet, std::vector<const Replicated*>> by_axes;
  for (const Replicated& item : held) by_axes[item.axes].push_back(&item);
  std::vector<std::string> problems;
  for (const auto& [axes, items] : by_axes) {
    Communicator& group = mesh.group(axes);
    if (group.size() == 1) continue;
    std::vector<uint64_t> own;
    for (const Replicated* item : items) own.push_back(item->hash);
    const std::vector<uint64_t> sums = gather(group, {hash_of(own.data(), own.size() * sizeof(uint64_t))});
    if (std::all_of(sums.begin(), sums.end(), [&](uint64_t sum) { return sum == sums[0]; })) continue;
    const std::vector<uint64_t> all = gather(group, own);
    const std::vector<int64_t> ranks = mesh.layout().members(axes, mesh.rank());
    for (size_t i = 0; i < items.size(); ++i) {
      std::vector<uint64_t> hashes;
      for (size_t r = 0; r < ranks.size(); ++r) hashes.push_back(all[r * items.size() + i]);
      if (std::any_of(hashes.begin(), hashes.end(), [&](uint64_t hash) { return hash != hashes[0]; }))
        problems.push_back(sentence(items[i]->name, ranks, hashes));
    }
  }
  return gather_problems(mesh.group(AxisSet::all()), problems, kDrift);
}

}  // namespace pscale
