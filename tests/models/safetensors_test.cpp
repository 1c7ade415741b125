#include "models/hf/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "models/hf/safetensors_writer.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

class Safetensors : public FolderTest {
 protected:
  /// A file of this header and this many bytes of tensors.
  std::string file(const std::string& header, size_t bytes) const {
    const uint64_t length = header.size();
    std::string text(8, '\0');
    std::memcpy(text.data(), &length, 8);
    return put("x.safetensors", text + header + std::string(bytes, '\1'));
  }
  void expect_broken(const std::string& header, size_t bytes, const std::string& part) const {
    const std::string path = file(header, bytes);
    const std::string error = error_of([&] { SafetensorsFile{path}; });
    EXPECT_NE(error.find(path), std::string::npos) << error;
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
};

TEST_F(Safetensors, WritesInPiecesAndReadsParts) {
  const std::string path = this->path("model.safetensors");
  {
    SafetensorsWriter writer(path,
                             {{"b", DType::bfloat16, {2}}, {"z", DType::float32, {3, 2}}, {"a", DType::float32, {1}}});
    ASSERT_EQ(writer.items().size(), 3u);
    EXPECT_EQ(writer.items()[0].name, "a");
    EXPECT_EQ(writer.items()[1].name, "z");
    EXPECT_EQ(writer.items()[2].name, "b");
    const float a = 7, z[] = {0, 1, 2, 3, 4, 5};
    const bfloat16 b[] = {bfloat16(1.5f), bfloat16(-2.0f)};
    writer.write(&a, 4);
    writer.write(z, 5);  // pieces may end anywhere
    writer.write(reinterpret_cast<const char*>(z) + 5, 19);
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_THROW(writer.publish(), InvariantError);
    EXPECT_THROW(writer.write(z, 24), InvariantError);
    writer.write(b, 4);
    writer.publish();
  }
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  const SafetensorsFile read(path);
  EXPECT_EQ(read.floats("z"), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read.floats("b"), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(read.at("z").shape, (std::vector<int64_t>{3, 2}));
  float row[2];
  read.read("z", 8, 8, row);
  EXPECT_EQ(row[0], 2);
  EXPECT_EQ(row[1], 3);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read.at("a").bytes.data()) % 8, 0u);
}

TEST_F(Safetensors, AnUnfinishedFileLeavesNothing) {
  const std::string path = this->path("model.safetensors");
  {
    SafetensorsWriter writer(path, {{"a", DType::float32, {4}}});
    EXPECT_TRUE(std::filesystem::exists(path + ".partial"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  const std::string error = error_of([&] { SafetensorsWriter(path + "/no/folder", {}); });
  EXPECT_NE(error.find("no/folder"), std::string::npos) << error;
}

TEST_F(Safetensors, WidensEveryHalf) {
  EXPECT_EQ(half_to_float(0x0000), 0.0f);
  EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
  EXPECT_EQ(half_to_float(0x3c00), 1.0f);
  EXPECT_EQ(half_to_float(0xc000), -2.0f);
  EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(half_to_float(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(half_to_float(0x83ff), -std::ldexp(1023.0f, -24));
  EXPECT_EQ(half_to_float(0x3555), 0.333251953125f);
  EXPECT_EQ(half_to_float(0xfc00), -INFINITY);
  EXPECT_TRUE(std::isnan(half_to_float(0x7e00)));
  const std::string path = file(R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", 4);
  EXPECT_EQ(SafetensorsFile(path).floats("h"), (std::vector<float>(2, half_to_float(0x0101))));
}

TEST_F(Safetensors, RefusesBrokenFilesByName) {
  expect_broken("[1]", 0, "not JSON");
  expect_broken(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "tensor a lies outside");
  expect_broken(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "tensor a has 8 bytes");
  expect_broken(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "tensor a has 8 bytes");
  expect_broken(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", 8, "tensor a");
  expect_broken(R"({"a":{"dtype":"F32","shape":[2]}})", 8, "broken header");
  expect_broken(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],)"
                R"("data_offsets":[4,8]}})",
                8, "tensor b lies over");
  expect_broken(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],)"
                R"("data_offsets":[4,8]}})",
                8, "tensor a stands in the header twice");
  put("short", "1234");
  EXPECT_NE(error_of([&] { SafetensorsFile{path("short")}; }).find("too short"), std::string::npos);
  EXPECT_NE(error_of([&] { SafetensorsFile{path("none")}; }).find("No such file"), std::string::npos);
  EXPECT_NE(error_of([&] { SafetensorsFile{folder_.string()}; }).find("is not a file"), std::string::npos);
}

}  // namespace
}  // namespace pscale
