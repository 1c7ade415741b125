// Files that are either whole or absent after a crash: what is written is brought to the disk before its name is.
// Any thread. All throw UserError naming the path and the reason (disk full, no permission, ...).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace pscale {

/// Brings a file's contents to the disk.
void sync_file(const std::filesystem::path& file);
/// Brings a folder's entries to the disk: names made, renamed or removed in it.
void sync_folder(const std::filesystem::path& folder);
/// Renames within one file system and brings the new name to the disk. An existing file of that name is replaced.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
/// Gives two names of one folder each other's content at once, and brings that to the disk. Returns false, and changes
/// nothing, where the file system cannot.
bool exchange_durably(const std::filesystem::path& a, const std::filesystem::path& b);
/// Makes a folder and those above it that are missing, and brings their names to the disk.
void make_folder_durably(const std::filesystem::path& folder);
/// Replaces a file: writes FILE.partial, syncs it, renames it, syncs the folder.
void write_file_durably(const std::filesystem::path& file, std::string_view text);
/// Points the link `link` at `target` (a path relative to the link's folder), replacing what it pointed at before.
void link_durably(const std::filesystem::path& link, const std::filesystem::path& target);

/// The whole file. Throws UserError where it is missing or cannot be read.
std::string read_file(const std::filesystem::path& file);

}  // namespace pscale
