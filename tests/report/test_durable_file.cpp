// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "base/error.h"
#include "report/durable_file.h"
#include "report/example.h"

namespace moebench {
namespace {

/// No file of this process may grow beyond `bytes` while it lives: a disk that fills up in the middle of a
/// write.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST(AppendFile, KeepsWhatWasWrittenWhenTheDiskIsFull) {
  const example::Directory directory("append");
  AppendFile file(directory / "f");
  file.append("first\n");
  {
    const FileSizeLimit limit(10);
    EXPECT_THROW(file.append("second, too long\n"), EnvironmentError);
    EXPECT_EQ(example::contents(directory / "f"), "first\n");
  }
  file.append("third\n");
  EXPECT_EQ(example::contents(directory / "f"), "first\nthird\n");
}

TEST(AppendFile, SaysThatTheDiskIsFull) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  AppendFile file("/dev/full");
  try {
    file.append("x");
    FAIL() << "wrote to a full device";
  } catch (const EnvironmentError& error) {
    EXPECT_STREQ(error.what(), "cannot write /dev/full: No space left on device");
  }
}

TEST(ReplaceFile, LeavesTheOldOneWhenTheNewOneCannotBeWritten) {
  const example::Directory directory("replace");
  replace_file(directory / "f", "old");
  {
    const FileSizeLimit limit(10);
    EXPECT_THROW(replace_file(directory / "f", std::string(100, 'n')), EnvironmentError);
  }
  EXPECT_EQ(example::contents(directory / "f"), "old");
  EXPECT_FALSE(std::filesystem::exists(directory / "f.tmp"));
  EXPECT_EQ(example::names_in(directory), std::vector<std::string>{"f"});
  replace_file(directory / "f", "new");
  EXPECT_EQ(example::contents(directory / "f"), "new");
}

TEST(CreateFile, LeavesWhatHasAppearedMeanwhile) {
  const example::Directory directory("create");
  create_file(directory / "f", "first");
  EXPECT_THROW(create_file(directory / "f", "second"), EnvironmentError);
  EXPECT_EQ(example::contents(directory / "f"), "first");
  EXPECT_EQ(example::names_in(directory), std::vector<std::string>{"f"});
}

TEST(FileLock, IsHeldByOneAtATimeAndNamesTheProcess) {
  const example::Directory directory("lock");
  {
    const FileLock first(directory / "f");
    EXPECT_TRUE(first.made());
    try {
      const FileLock second(directory / "f");
      ADD_FAILURE() << "two hold it";
    } catch (const FileLocked& locked) {
      EXPECT_TRUE(locked.holder() == getpid() || locked.holder() == 0) << locked.holder();
    }
  }
  const FileLock again(directory / "f");
  EXPECT_FALSE(again.made());
}

TEST(FileLock, FollowsTheNameToAFileThatReplacedTheLockedOne) {
  const example::Directory directory("relock");
  AppendFile fresh(directory / "fresh");
  {
    const FileLock old(directory / "f");
    fresh.lock();
    fresh.rename_to(directory / "f");
  }
  EXPECT_THROW(FileLock(directory / "f"), FileLocked);
}

TEST(RequireWritable, RefusesWhatIsNoPlaceForAFile) {
  const example::Directory directory("writable");
  EXPECT_NO_THROW(require_writable(directory / "f"));
  EXPECT_THROW(require_writable(directory / "none/f"), EnvironmentError);
  EXPECT_THROW(require_writable(directory / ""), EnvironmentError);
  EXPECT_THROW(require_writable("/dev/null"), EnvironmentError);
  EXPECT_THROW(require_writable(""), EnvironmentError);
}

}  // namespace
}  // namespace moebench
