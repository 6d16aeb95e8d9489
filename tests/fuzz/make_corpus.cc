// The first inputs of every target, by the product's own writers where it has any: make_corpus FOLDER.
// What the fuzzers found is kept beside them, under names of its own.
#include <archive.h>
#include <archive_entry.h>

#include <clocale>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "checkpoints/safetensors.h"
#include "checkpoints/save.h"
#include "data/npy.h"
#include "data/npz.h"
#include "launcher/config.h"
#include "launcher/metrics.h"
#include "launcher/product_table.h"
#include "tests/checkpoints/faulty_files.h"
#include "tests/data/tar_files.h"
#include "tests/fuzz/two_files.h"
#include "tests/launcher/tiny_golden.h"

namespace shardit {
namespace {

namespace fs = std::filesystem;
using testing_files::Bytes;

fs::path corpus;

std::string text(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

void put(const std::string& target, const std::string& name, const std::string& bytes) {
  fs::create_directories(corpus / target);
  std::ofstream(corpus / target / name, std::ios::binary) << bytes;
}

// A place for writers that want a path; whatever stood there is gone.
std::string fresh(const std::string& target, const std::string& name) {
  fs::create_directories(corpus / target);
  fs::remove(corpus / target / name);
  return corpus / target / name;
}

std::string safetensors(const std::vector<StoredTensor>& tensors, const Metadata& metadata) {
  FaultyFiles files;
  SafetensorsWriter writer(files, "f", tensors, metadata);
  for (const StoredTensor& tensor : writer.tensors()) {
    const std::string bytes(tensor.bytes, '\x01');
    writer.write(bytes.data(), tensor.bytes);
  }
  writer.finish();
  return files.bytes("f");
}

void safetensors_files() {
  std::vector<StoredTensor> all;
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8})
    all.push_back({std::string("a.") + name_of(dtype), dtype, {2, 3}});
  put("safetensors", "types", safetensors(all, {{"format", "pt"}, {"step", "7"}}));
  put("safetensors", "shapes",
      safetensors({{"scalar", DType::kF32, {}},
                   {"empty", DType::kF32, {0, 4}},
                   {"eight", DType::kU8, Shape{1, 1, 1, 1, 1, 1, 1, 2}}},
                  {}));
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
    put("import", name_of(dtype),
        safetensors(
            {{"matrix", dtype, {2, 3}}, {"params/vector", dtype, {3}}, {"scalar", dtype, {}}, {"empty", dtype, {0, 4}}},
            {}));
}

// One tensor in one piece and one of three chunks, in two kinds.
void checkpoint_files() {
  std::vector<float> values(2500, 0.5f);
  std::vector<BF16> half(5, BF16(1.0f));
  const std::vector<StateTensor> state = {{"params/matrix", DType::kF32, {2, 3}, values.data()},
                                          {"params/empty", DType::kF32, {0, 4}, nullptr},
                                          {"adam.m/long", DType::kF32, {25, 5}, values.data()},
                                          {"ema.slow/half", DType::kBF16, {5}, half.data()}};
  const std::vector<TensorPart> parts = whole_parts(state);
  RunState run{
      .step = 1, .images = 256, .seed = 42, .next_sample = 256, .config_text = "seed: 42\n", .device_kind = "cpu"};
  run.library_versions = {{"onednn", "2.6.3"}};
  run.run_nonce = "abc", run.data_fingerprint = "images", run.resume_loss_bits = 0x3f800000;
  FaultyFiles files;
  files.make_dir("run");
  PendingSave save(files, "run", 1, rank_file_bytes(parts));
  const WrittenFile written = write_rank_file(files, save.directory(), 0, parts);
  const std::string folder = save.commit(run, {&written, 1}).path;
  const std::string manifest = files.bytes(folder + "/manifest.pb"),
                    message = manifest.substr(16, manifest.size() - 20);
  put("manifest", "file", manifest);
  put("manifest", "message", message);
  put("checkpoint", "whole", join(message, files.bytes(folder + "/rank-00000.safetensors")));
}

void idx_files() {
  using namespace testing_files;
  const Bytes images = idx(0x803, {3, 2, 4}, counting(24)), labels = idx(0x801, {3}, {2, 0, 1});
  put("idx", "plain", join(text(images), text(labels)));
  put("idx", "gzipped", join(text(gzip(images)), text(gzip(labels))));
}

// Deflated, with sizes after the data, by libarchive: the product's own writer only stores.
std::string deflated_npz() {
  std::string bytes(4096, '\0');
  size_t used = 0;
  archive* writer = archive_write_new();
  archive_write_set_format_zip(writer);
  archive_write_set_bytes_per_block(writer, 0);
  archive_write_open_memory(writer, bytes.data(), bytes.size(), &used);
  for (const char* name : {"arr_0.npy", "arr_1.npy"}) {
    const std::string array = npy_header({DType::kI64, {16}}) + std::string(128, '\x02');
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, static_cast<la_int64_t>(array.size()));
    archive_write_header(writer, entry);
    archive_write_data(writer, array.data(), array.size());
    archive_entry_free(entry);
  }
  archive_write_free(writer);
  bytes.resize(used);
  return bytes;
}

void npz_files() {
  for (const uint64_t zip64_from : {uint64_t{0xffffffff}, uint64_t{0}}) {
    NpzWriter npz(fresh("npz", zip64_from ? "stored" : "zip64"), zip64_from);
    const std::string bytes(48, '\x03');
    for (const NpzArray& array : {NpzArray{"arr_0", DType::kU8, {2, 2, 3, 3}},
                                  {"arr_1", DType::kI64, {2}},
                                  {"mu", DType::kF64, {3}},
                                  {"scalar", DType::kF32, {}},
                                  {"none", DType::kI32, {0}}}) {
      npz.begin(array);
      npz.write(bytes.data(), array.bytes());
    }
    npz.close();
  }
  put("npz", "deflated", deflated_npz());
}

void tar_files() {
  using namespace testing_files;
  const NamedFiles images = {{"train/", {}},
                             {"train/cat/n1_a.jpg", counting(40)},
                             {"./train/dog/n2_b.PNG", counting(3)},
                             {"notes.txt", counting(5)}};
  for (const char* format : {"ustar", "pax", "gnutar", "v7tar"}) put("tar", format, text(make_tar(images, format)));
  NamedFiles odd = images;
  odd.push_back({"train/" + std::string(120, 'x') + "/Zähler " + std::string(90, 'y') + ".jpg", counting(9)});
  for (const char* format : {"pax", "gnutar"}) put("tar", std::string("long-") + format, text(make_tar(odd, format)));
  put("tar", "refused", text(raw_tar({{"a.jpg"}, {"link", '2', {}, "a.jpg"}, {"../up.jpg"}})));
  put("image_files", "folders", join(text(make_tar(images, "ustar")), "cat/n1_a.jpg 3\n dog/n2_b.PNG\t0\r\n"));
  put("image_files", "numbers",
      join(text(make_tar({{"1/7_a.jpeg", counting(2)}, {"0/12_b.png", {}}}, "ustar")),
           "1/7_a.jpeg cat\n\n0/12_b.png dog"));
}

void config_files() {
  const std::string ema = "ema { name: \"slow\" half_life_images: 1e5 } ";
  put("config", "synthetic", resolved_text(parse_config(ema + "data { kind: synthetic }", "")));
  put("config", "edm",
      resolved_text(parse_config(ema + "diffusion { process: edm } data { kind: idx path: \"x\" }", "")));
  put("config_set", "some",
      "optimizer.lr=1e-4\nema[0].decay=\nema[0].half_life_images=1e6\nema[1].name=fast\nema[1].decay=0.9\n");
  put("config_set", "wrong", "optimizer.lrr=1\n");
}

void metrics_files() {
  MetricsWriter writer(fresh("metrics", "run"), 0);
  writer.event("start", 0,
               {{"ranks", 2},
                {"device", "cpu"},
                {"parameters", 74},
                {"environment", {{"cpu", "A <B>"}, {"memory_bytes", 1 << 30}, {"libraries", {{"zlib", "1"}}}}},
                {"plan", {{{"class", "activations"}, {"bytes", 412}}}}});
  for (int64_t step = 1; step <= 3; ++step)
    writer.step({.step = step,
                 .images = 8 * step,
                 .loss = 0.5,
                 .grad_norm = 1,
                 .lr = 1e-4,
                 .step_ms = 20,
                 .images_per_s = 400,
                 .mfu = 0.4,
                 .mem_bytes = 1 << 20,
                 .comm_exposed_ms = 2,
                 .data_wait_ms = 1});
  writer.event("validation", 3, {{"loss", 0.2}, {"images", 16}, {"bins", {0.4, nullptr, 0.1}}});
  writer.event("save", 3, {{"bytes", 118}, {"stall_ms", 31.5}, {"total_ms", 420.0}, {"digest", "abc123"}});
  writer.event("resume", 3, {{"digest", "abc123"}, {"warnings", {"w"}}});
}

// Headers, whose offsets the target puts right, and eight bytes for all numbers.
void golden_files() {
  const DiffitConfig model{.input_size = 2,
                           .in_channels = 1,
                           .patch_size = 1,
                           .hidden_size = 4,
                           .depth = 1,
                           .num_heads = 1,
                           .mlp_ratio = 1,
                           .num_classes = 1};
  const auto put_golden = [](const std::string& name, const TinyGolden& golden, char number) {
    put("golden", name, join(golden.header(), std::string{number, 0, 0, 0, 0, 0, 0, 0}));
  };
  TinyGolden golden(model);
  put_golden("forward", golden, 1);
  put_golden("label-beyond", golden, 2);
  golden.named("forward.out").shape = {2, 1, 2, 2};
  put_golden("out-of-one-channel", golden, 1);
  TinyGolden all(model);
  all.add_the_rest();
  put_golden("all", all, 0);
  put("golden", "autoencoder", safetensors({{"x", DType::kF32, {1}}}, {{"ch", "32"}}));
}

void product_tables() {
  const LibraryAlgorithm one = {66, 0, 0, 0, 116}, two = {66, 0, 0, 0, 28};
  put("product_table", "two",
      text_of(ProductTable{{{"cuda NVIDIA H200, sm_90, CUDA 13.0, cuBLASLt 13.1.0", "8x8x8 align 16"},
                            {one, "id 66, tile 116", 7.36, 7.07}},
                           {{"another GPU", "8x8x8 align 0"}, {two, "id 66, tile 28", 66.6, 66.6}}}));
}

}  // namespace
}  // namespace shardit

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_corpus FOLDER\n";
    return 2;
  }
  std::setlocale(LC_ALL, "C.UTF-8");  // libarchive's, for names that are not ASCII
  shardit::corpus = argv[1];
  shardit::safetensors_files();
  shardit::checkpoint_files();
  shardit::idx_files();
  shardit::npz_files();
  shardit::tar_files();
  shardit::config_files();
  shardit::metrics_files();
  shardit::golden_files();
  shardit::product_tables();
}
