#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "parallel/comm/shared_window.h"
#include "tests/dist/world.h"

namespace pscale {
namespace {

constexpr Purpose kTest{"test"};

/// Element i of rank r: small integers, so that sums are exact in every type.
double value(int64_t rank, int64_t i) { return static_cast<double>((rank * 7 + i * 3) % 11 - 5); }

template <class T>
std::vector<T> values_of(int64_t rank, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = T(static_cast<float>(value(rank, i)));
  return values;
}

template <class T>
double number(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) return static_cast<float>(x);
  return static_cast<double>(static_cast<float>(x));
}

template <class T>
void check_collectives(Communicator& group, int64_t count) {
  const int64_t size = group.size(), rank = group.rank();
  const DType type = dtype_of<T>;
  std::vector<T> sum = values_of<T>(rank, count), most = sum;
  group.all_reduce(sum.data(), count, type, Reduction::sum, kTest).wait();
  group.all_reduce(most.data(), count, type, Reduction::max, kTest).wait();

  const std::vector<T> own = values_of<T>(rank, count);
  std::vector<T> gathered(static_cast<size_t>(count * size)), in_place(gathered.size());
  std::copy(own.begin(), own.end(), in_place.begin() + rank * count);
  group.all_gather(own.data(), gathered.data(), count, type, kTest).wait();
  group.all_gather(in_place.data() + rank * count, in_place.data(), count, type, kTest).wait();

  const std::vector<T> all = values_of<T>(rank, count * size);
  std::vector<T> scattered(static_cast<size_t>(count));
  group.reduce_scatter(all.data(), scattered.data(), count, type, kTest).wait();

  for (int64_t i = 0; i < count; ++i) {
    double expected = 0, highest = -100, piece = 0;
    for (int64_t r = 0; r < size; ++r) {
      expected += value(r, i);
      highest = std::max(highest, value(r, i));
      piece += value(r, rank * count + i);
      ASSERT_EQ(number(gathered[static_cast<size_t>(r * count + i)]), value(r, i));
      ASSERT_EQ(number(in_place[static_cast<size_t>(r * count + i)]), value(r, i));
    }
    ASSERT_EQ(number(sum[static_cast<size_t>(i)]), expected) << i;
    ASSERT_EQ(number(most[static_cast<size_t>(i)]), highest) << i;
    ASSERT_EQ(number(scattered[static_cast<size_t>(i)]), piece) << i;
  }
}

TEST(Collectives, EqualPlainLoopsOnEveryGroup) {
  for (const Transport transport : {Transport::shared, Transport::mpi})
    for (const Layout& layout : testing::layouts()) {
      const auto mesh = testing::mesh_of(layout, transport);
      for (const AxisSet axes : {AxisSet(Axis::tensor), AxisSet(Axis::replica), AxisSet(Axis::data),
                                 AxisSet{Axis::replica, Axis::tensor}, AxisSet{Axis::data, Axis::replica}, AxisSet::all()}) {
        Communicator& group = mesh->group(axes);
        ASSERT_EQ(group.size(), layout.size(axes));
        for (const int64_t count : {1, 3, 1000}) {
          check_collectives<float>(group, count);
          check_collectives<double>(group, count);
          check_collectives<int32_t>(group, count);
          check_collectives<bfloat16>(group, count);
        }
      }
    }
}

TEST(Collectives, MoveMoreThanTheWindowHolds) {
  const int64_t count = kWindowBytes / 4 + 12345;
  for (const Transport transport : {Transport::shared, Transport::mpi}) {
    const auto mesh = testing::mesh_of(testing::layouts().front(), transport);
    check_collectives<float>(mesh->group(AxisSet::all()), count);
  }
}

TEST(Collectives, ManyAtOnceEndInOrder) {
  for (const Layout& layout : testing::layouts()) {
    const auto mesh = testing::mesh_of(layout);
    std::vector<std::vector<float>> buffers;
    std::vector<Request> requests;
    for (int i = 0; i < 50; ++i) buffers.emplace_back(100 + i, static_cast<float>(mesh->rank() + i));
    for (int i = 0; i < 50; ++i) {
      Communicator& group = mesh->group(i % 3 == 0 ? AxisSet(Axis::tensor) : i % 3 == 1 ? AxisSet(Axis::data) : AxisSet::all());
      requests.push_back(group.all_reduce(buffers[static_cast<size_t>(i)].data(), 100 + i, DType::float32, Reduction::max, kTest));
    }
    for (auto it = requests.rbegin(); it != requests.rend(); ++it) it->wait();
    for (int i = 2; i < 50; i += 3)
      EXPECT_EQ(buffers[static_cast<size_t>(i)].back(), static_cast<float>(layout.world() - 1 + i));
  }
}

TEST(Collectives, SumsHaveTheSameBitsEveryTime) {
  const auto mesh = testing::mesh_of(testing::layouts().front());
  Communicator& group = mesh->group(AxisSet::all());
  std::vector<float> send(static_cast<size_t>(group.size() * 5000)), first(5000), again(5000);
  for (size_t i = 0; i < send.size(); ++i)
    send[i] = std::sin(static_cast<float>(i) * 0.37f + static_cast<float>(group.rank())) * 1e3f;
  group.reduce_scatter(send.data(), first.data(), 5000, DType::float32, kTest).wait();
  for (int run = 0; run < 20; ++run) {
    group.reduce_scatter(send.data(), again.data(), 5000, DType::float32, kTest).wait();
    ASSERT_EQ(std::memcmp(first.data(), again.data(), 5000 * sizeof(float)), 0);
  }
}

TEST(Collectives, AdvanceWhileNobodyWaits) {
  const auto mesh = testing::mesh_of(testing::layouts().front());
  Communicator& group = mesh->group(AxisSet::all());
  std::vector<float> send(1 << 18, 1.0f), receive(send.size() * static_cast<size_t>(group.size()));
  group.barrier();
  Request request = group.all_gather(send.data(), receive.data(), 1 << 18, DType::float32, kTest);
  // The computing thread does something else and never calls the communicator.
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!request.done() && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(request.done());
  request.wait();
  EXPECT_EQ(receive.back(), 1.0f);
}

TEST(Collectives, CountWhatARankSends) {
  if (testing::world().size() == 1) GTEST_SKIP() << "needs several ranks";
  const int64_t g = testing::world().size();
  const auto mesh = testing::mesh_of({g, 1, 1});
  Communicator& group = mesh->group(Axis::data);
  mesh->counters().reset();
  std::vector<float> a(static_cast<size_t>(16 * g)), b(static_cast<size_t>(16 * g));
  group.all_gather(a.data(), b.data(), 16, DType::float32, Purpose{"gather"}).wait();
  group.reduce_scatter(a.data(), b.data(), 16, DType::float32, Purpose{"scatter"}).wait();
  group.all_reduce(a.data(), 16 * g, DType::float32, Reduction::sum, Purpose{"reduce"}).wait();
  auto counts = mesh->counters().snapshot();
  const auto& gather = counts.at({Axis::data, "gather"});
  EXPECT_EQ(gather.elements, (g - 1) * 16);
  EXPECT_EQ(gather.bytes, (g - 1) * 16 * 4);
  EXPECT_EQ(gather.calls, 1);
  EXPECT_GT(gather.seconds, 0);
  EXPECT_EQ(counts.at({Axis::data, "scatter"}).elements, (g - 1) * 16);
  EXPECT_EQ(counts.at({Axis::data, "reduce"}).elements, 2 * (g - 1) * 16);
}

}  // namespace
}  // namespace pscale
