#include "parallel/checkpoint/hdf5_file.h"

#include <cmath>
#include <limits>

#include "core/base/errors.h"

namespace pscale {

namespace {

/// Keeps HDF5 from printing its error stack while in scope; fail() puts the cause into the exception.
class Quiet {
 public:
  Quiet() {
    H5Eget_auto2(H5E_DEFAULT, &print_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Quiet() { H5Eset_auto2(H5E_DEFAULT, print_, data_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  H5E_auto2_t print_ = nullptr;
  void* data_ = nullptr;
};

/// Before any other call: at exit HDF5 would close files again that could not be written, and crash in it.
void start_hdf5() {
  static const herr_t once = H5dont_atexit();
  (void)once;
}

/// The innermost description of the error stack, which says why; of a failed system call only the system's words.
std::string cause() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned number, const H5E_error2_t* error, void* out) -> herr_t {
        if (number == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &text);
  constexpr std::string_view kSystem = "error message = '";
  if (const size_t at = text.find(kSystem); at != std::string::npos) {
    const size_t begin = at + kSystem.size();
    text = text.substr(begin, text.find('\'', begin) - begin);
  }
  text = text.substr(0, text.find('\n'));
  return text.empty() ? "unknown error" : text;
}

Hdf5Handle properties(hid_t of) { return {H5Pcreate(of), H5Pclose}; }

/// Little-endian, as all of a checkpoint. bfloat16 is a float of 16 bits with an exponent of 8.
Hdf5Handle file_type(DType dtype) {
  switch (dtype) {
    case DType::float64: return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case DType::int32: return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case DType::bfloat16: {
      Hdf5Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
      H5Tset_fields(type.id(), 15, 7, 8, 0, 7);
      H5Tset_precision(type.id(), 16);
      H5Tset_size(type.id(), 2);
      H5Tset_ebias(type.id(), 127);
      return type;
    }
    default: return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
  }
}

std::vector<hsize_t> sizes(const std::vector<int64_t>& shape) { return {shape.begin(), shape.end()}; }

Hdf5Handle space_of(const Shape& shape) {
  const auto dims = sizes(shape);
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose};
}

}  // namespace

std::string hdf5_version() {
  start_hdf5();
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return cat("HDF5 ", major, ".", minor, ".", release);
}

void Hdf5File::fail(const std::string& what) const {
  throw UserError(cat(path_.string(), ": ", what, ": ", cause()));
}

hid_t Hdf5File::checked(hid_t id, const std::string& what) const {
  if (id < 0) fail(what);
  return id;
}

Hdf5File::Hdf5File(const std::filesystem::path& path, Mode mode) : path_(path) {
  start_hdf5();
  const Quiet quiet;
  const Hdf5Handle access = properties(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(access.id(), H5F_LIBVER_V110, H5F_LIBVER_V110);  // what virtual datasets need, and no newer
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 10 && H5_VERS_RELEASE >= 7)
  H5Pset_file_locking(access.id(), false, true);
#endif
  const hid_t id = mode == Mode::create ? H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.id())
                                        : H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id());
  file_ = {checked(id, mode == Mode::create ? "cannot be made" : "cannot be opened as HDF5"), H5Fclose};
}

Hdf5File::~Hdf5File() {
  const Quiet quiet;
  file_ = {};
}

void Hdf5File::write(const std::string& dataset, DType dtype, const Shape& shape, const void* data) {
  const Quiet quiet;
  const Hdf5Handle type = file_type(dtype), space = space_of(shape);
  const Hdf5Handle links = properties(H5P_LINK_CREATE), creation = properties(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links.id(), 1);
  H5Pset_alloc_time(creation.id(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(creation.id(), H5D_FILL_TIME_NEVER);
  const Hdf5Handle made(checked(H5Dcreate2(file_.id(), dataset.c_str(), type.id(), space.id(), links.id(), creation.id(),
                                           H5P_DEFAULT),
                                cat("dataset ", dataset, " cannot be made")),
                        H5Dclose);
  if (H5Dwrite(made.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
    fail(cat("dataset ", dataset, " cannot be written"));
}

void Hdf5File::write_virtual(const std::string& dataset, DType dtype, const Shape& shape, const Shape& file_shape,
                             const std::vector<VirtualPart>& parts) {
  const Quiet quiet;
  const bool merged = file_shape.size() + 1 == shape.size();
  PSCALE_CHECK(merged || file_shape == shape, dataset, ": ", to_string(shape), " shown as ", to_string(file_shape));
  const Hdf5Handle type = file_type(dtype), space = space_of(file_shape);
  const Hdf5Handle links = properties(H5P_LINK_CREATE), creation = properties(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links.id(), 1);
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  H5Pset_fill_value(creation.id(), H5T_NATIVE_DOUBLE, &nothing);
  for (const VirtualPart& part : parts) {
    std::vector<hsize_t> start = sizes(part.slab.start), count = sizes(part.slab.count);
    std::vector<hsize_t> stride(file_shape.size(), 1), block(file_shape.size(), 1);
    if (merged) {  // [.., m, n] shown as [.., m n]: a block of n's part in each of m's
      const hsize_t width = static_cast<hsize_t>(shape.back());
      stride.back() = width;
      block.back() = count.back();
      const hsize_t inner = start.back();
      start.pop_back();
      count.pop_back();
      start.back() = start.back() * width + inner;
    }
    if (H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), stride.data(), count.data(), block.data()) < 0)
      fail(cat("dataset ", dataset, ": the part of ", part.file, " cannot be selected"));
    const Hdf5Handle source = space_of(part.slab.count);
    if (H5Pset_virtual(creation.id(), space.id(), part.file.c_str(), part.dataset.c_str(), source.id()) < 0)
      fail(cat("dataset ", dataset, ": the part of ", part.file, " cannot be mapped"));
  }
  H5Sselect_all(space.id());
  const Hdf5Handle made(checked(H5Dcreate2(file_.id(), dataset.c_str(), type.id(), space.id(), links.id(), creation.id(),
                                           H5P_DEFAULT),
                                cat("dataset ", dataset, " cannot be made")),
                        H5Dclose);
}

int64_t Hdf5File::offset(const std::string& dataset) {
  const Quiet quiet;
  const Hdf5Handle open(checked(H5Dopen2(file_.id(), dataset.c_str(), H5P_DEFAULT), cat("dataset ", dataset, " is missing")),
                        H5Dclose);
  const haddr_t place = H5Dget_offset(open.id());
  if (place == HADDR_UNDEF) fail(cat("dataset ", dataset, " has no place in the file"));
  return static_cast<int64_t>(place);
}

void Hdf5File::read_rows(const std::string& dataset, DType dtype, int64_t first, int64_t count, void* out) {
  const Quiet quiet;
  const Hdf5Handle open(checked(H5Dopen2(file_.id(), dataset.c_str(), H5P_DEFAULT), cat("dataset ", dataset, " is missing")),
                        H5Dclose);
  const Hdf5Handle space(H5Dget_space(open.id()), H5Sclose), type = file_type(dtype);
  std::vector<hsize_t> shape(static_cast<size_t>(H5Sget_simple_extent_ndims(space.id())));
  H5Sget_simple_extent_dims(space.id(), shape.data(), nullptr);
  std::vector<hsize_t> start(shape.size(), 0);
  start[0] = static_cast<hsize_t>(first);
  shape[0] = static_cast<hsize_t>(count);
  const Hdf5Handle memory(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
  if (H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, shape.data(), nullptr) < 0 ||
      H5Dread(open.id(), type.id(), memory.id(), space.id(), H5P_DEFAULT, out) < 0)
    fail(cat("dataset ", dataset, " cannot be read"));
}

void Hdf5File::close() {
  const Quiet quiet;
  const Hdf5Handle closing = std::exchange(file_, {});
  if (H5Fflush(closing.id(), H5F_SCOPE_GLOBAL) < 0) fail("cannot be written");
}

}  // namespace pscale
