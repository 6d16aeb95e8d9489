// A file system in memory that fails, is killed and loses what was not synced, as disks and kernels may.
//
// Modelled on leveldb's fault_injection_test. Every call counts. A kill at call n makes it and all later ones throw
// Killed, which is no Error, so that no handler of the code under test mistakes it for one; the killed write leaves
// half of its bytes. crash() then decides what of the unsynced state survives, and the files work again.
//
// Threads may stand for processes that share the files: each says which one it is, and a fault may be that of one.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "checkpoints/file_system.h"

namespace shardit {

struct Killed {};

// What a crash leaves of bytes and names that were not synced.
enum class Survives { kNothing, kNamesOnly, kEverything, kAnything };

class FaultyFiles : public FileSystem {
 public:
  FaultyFiles() { root_->directory = true; }

  // --- faults ---
  static constexpr int kAll = -1;              // the machine: all processes together
  static inline thread_local int process = 0;  // of which this thread makes the calls
  // Counted from now, the next call is 1. A killed process stays dead until the crash, and so does a killed machine.
  void kill_at(int call, int of = kAll) {
    const std::lock_guard lock(mutex_);
    kill_ = {of, calls_[of] + call};
  }
  void fail_at(int call, int error_number, int of = kAll) {
    const std::lock_guard lock(mutex_);
    fail_ = {of, calls_[of] + call};
    fail_with_ = error_number;
  }
  void no_faults() { kill_ = fail_ = {}; }
  int64_t capacity = int64_t{1} << 40;  // bytes; a write beyond it stores what fits and fails with ENOSPC
  int64_t claimed_free = -1;            // what free_bytes says; -1: the truth
  int64_t used() const { return used_by(*root_); }

  void crash(Survives survives, unsigned seed = 0) {
    std::mt19937 random(seed);
    lose(*root_, survives, random);
    no_faults();
    dead_.clear();
  }

  // --- for tests that damage files ---
  std::string& bytes(const std::string& path) { return existing("bytes", path)->data; }
  void put(const std::string& path, const std::string& data) {  // synced
    const std::shared_ptr<Node> node = insert(path, std::make_shared<Node>());
    node->data = node->durable_data = data;
  }

  // --- FileSystem ---
  std::unique_ptr<OutputFile> create(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("create", path);
    if (lookup(path)) throw io_error("create", path, EEXIST);
    return std::make_unique<Output>(*this, path, insert(path, std::make_shared<Node>()));
  }
  std::unique_ptr<InputFile> open(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("open", path);
    return std::make_unique<Input>(*this, path, existing("open", path));
  }
  PathKind kind(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("stat", path);
    const std::shared_ptr<Node> node = lookup(path);
    return !node ? PathKind::kMissing : node->directory ? PathKind::kDirectory : PathKind::kFile;
  }
  std::vector<std::string> list(const std::string& dir) override {
    const std::lock_guard lock(mutex_);
    tick("list", dir);
    std::vector<std::string> names;
    for (const auto& [name, node] : existing("list", dir)->names) names.push_back(name);
    return names;
  }
  void make_dir(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("mkdir", path);
    if (lookup(path)) throw io_error("mkdir", path, EEXIST);
    insert(path, std::make_shared<Node>())->directory = true;
  }
  void sync_dir(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("fsync", path);
    const std::shared_ptr<Node> node = existing("fsync", path);
    node->durable_names = node->names;
  }
  void rename(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    tick("rename", from);
    const std::shared_ptr<Node> node = existing("rename", from), old = lookup(to);
    if (old && old->directory && !old->names.empty()) throw io_error("rename", to, ENOTEMPTY);
    erase(from);
    insert(to, node);
  }
  void remove_file(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("unlink", path);
    if (existing("unlink", path)->directory) throw io_error("unlink", path, EISDIR);
    erase(path);
  }
  void remove_dir(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("rmdir", path);
    if (!existing("rmdir", path)->names.empty()) throw io_error("rmdir", path, ENOTEMPTY);
    erase(path);
  }
  int64_t free_bytes(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    tick("statvfs", path);
    return claimed_free >= 0 ? claimed_free : capacity - used();
  }

 private:
  struct Node {
    bool directory = false;
    std::string data, durable_data;
    std::map<std::string, std::shared_ptr<Node>> names, durable_names;
  };

  class Output : public OutputFile {
   public:
    Output(FaultyFiles& files, std::string path, std::shared_ptr<Node> node)
        : files_(files),
          path_(std::move(path)),
          node_(std::move(node)) {}
    void write(const void* data, int64_t bytes) override {
      const std::lock_guard lock(files_.mutex_);
      const char* from = static_cast<const char*>(data);
      try {
        files_.tick("write", path_);
      } catch (const Killed&) {
        node_->data.append(from, bytes / 2);
        throw;
      }
      const int64_t room = std::max<int64_t>(0, files_.capacity - files_.used());
      node_->data.append(from, std::min(room, bytes));
      if (room < bytes) throw io_error("write", path_, ENOSPC);
    }
    void sync() override {
      const std::lock_guard lock(files_.mutex_);
      files_.tick("fsync", path_);
      node_->durable_data = node_->data;
    }
    void close() override {
      const std::lock_guard lock(files_.mutex_);
      files_.tick("close", path_);
    }

   private:
    FaultyFiles& files_;
    std::string path_;
    std::shared_ptr<Node> node_;
  };

  class Input : public InputFile {
   public:
    Input(FaultyFiles& files, std::string path, std::shared_ptr<Node> node)
        : files_(files),
          path_(std::move(path)),
          node_(std::move(node)) {}
    int64_t size() const override {
      const std::lock_guard lock(files_.mutex_);
      return static_cast<int64_t>(node_->data.size());
    }
    void read(int64_t offset, void* dst, int64_t bytes) override {
      const std::lock_guard lock(files_.mutex_);
      files_.tick("read", path_);
      if (offset < 0 || bytes < 0 || offset + bytes > size()) throw IoError("read " + path_ + ": beyond the end");
      node_->data.copy(static_cast<char*>(dst), bytes, offset);  // dst may be null where bytes is 0
    }

   private:
    FaultyFiles& files_;
    std::string path_;
    std::shared_ptr<Node> node_;
  };

  // A call of one process, or of the machine.
  struct Fault {
    int process = kAll, call = 0;
  };

  // REQUIRES: the lock.
  void tick(const char* call, const std::string& path) {
    for (int who : {kAll, process}) {
      const int number = ++calls_[who];
      if (kill_.process == who && kill_.call == number) dead_.insert(who);
    }
    if (dead_.contains(kAll) || dead_.contains(process)) throw Killed();
    for (int who : {kAll, process})
      if (fail_.process == who && fail_.call == calls_[who]) throw io_error(call, path, fail_with_);
  }

  static std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> parts(1);
    for (char c : path) {
      if (c == '/')
        parts.emplace_back();
      else
        parts.back().push_back(c);
    }
    std::erase_if(parts, [](const std::string& part) { return part.empty() || part == "."; });
    return parts;
  }
  std::shared_ptr<Node> lookup(const std::string& path) const {
    std::shared_ptr<Node> node = root_;
    for (const std::string& part : split(path)) {
      const auto found = node->names.find(part);
      if (found == node->names.end()) return nullptr;
      node = found->second;
    }
    return node;
  }
  std::shared_ptr<Node> existing(const char* call, const std::string& path) const {
    const std::shared_ptr<Node> node = lookup(path);
    if (!node) throw io_error(call, path, ENOENT);
    return node;
  }
  std::shared_ptr<Node> parent(const char* call, const std::string& path) const {
    return existing(call, path.find('/') == std::string::npos ? "" : path.substr(0, path.rfind('/')));
  }
  std::shared_ptr<Node> insert(const std::string& path, std::shared_ptr<Node> node) {
    return parent("create", path)->names[split(path).back()] = std::move(node);
  }
  void erase(const std::string& path) { parent("unlink", path)->names.erase(split(path).back()); }

  static int64_t used_by(const Node& node) {
    int64_t bytes = static_cast<int64_t>(node.data.size());
    for (const auto& [name, child] : node.names) bytes += used_by(*child);
    return bytes;
  }

  // kAnything: each directory keeps its new names or not, each file its new bytes, some of them, or none.
  static void lose(Node& node, Survives survives, std::mt19937& random) {
    const unsigned coin = random() % 3;
    if (survives == Survives::kNothing || (survives == Survives::kAnything && coin == 0))
      node.names = node.durable_names;
    if (survives == Survives::kNothing || survives == Survives::kNamesOnly) node.data = node.durable_data;
    if (survives == Survives::kAnything && coin == 0) node.data = node.durable_data;
    if (survives == Survives::kAnything && coin == 1 && node.data.size() > node.durable_data.size())
      node.data.resize(node.durable_data.size() + random() % (node.data.size() - node.durable_data.size()));
    node.durable_names = node.names;
    node.durable_data = node.data;
    for (const auto& [name, child] : node.names) lose(*child, survives, random);
  }

  std::shared_ptr<Node> root_ = std::make_shared<Node>();
  std::map<int, int> calls_;  // by process
  Fault kill_, fail_;
  int fail_with_ = 0;
  std::set<int> dead_;
  std::recursive_mutex mutex_;  // guards all of it while calls are made
};

}  // namespace shardit
