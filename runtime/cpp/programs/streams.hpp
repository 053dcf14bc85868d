// Standard streams, inputs and outputs of the programs: pipes work as files, and nothing is left half-written.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

// The input was fine and the work still failed, such as on a full disk: exit code 1.
struct WorkFailed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// To be called first in main. A reader that leaves no longer ends the program, and a closed stream becomes the null
// device: the next file that is opened would take its place, and what is printed would land in a picture.
void prepare_streams();

// To be called last. Throws WorkFailed if something that was printed is lost: the disk is full, or stdout was closed.
void check_stdout();

// Everything that a file or a pipe holds. Throws std::runtime_error with the path.
std::vector<std::uint8_t> read_whole(const std::string &path);

// Writes a file that appears whole or not at all. Where the path is a link, the file that it names is written and the
// link stays; into a named pipe or a device the bytes go as they are. Throws std::runtime_error when the path cannot be
// written, WorkFailed when writing fails; both with the path.
void write_whole(const std::string &path, const void *data, std::size_t size);
