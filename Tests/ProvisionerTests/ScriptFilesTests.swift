import Foundation
import Testing

@testable import Provisioner

@Suite("Files of the nodescript tree")
struct ScriptFilesTests {
  @Test("are kept, and read anew as soon as they are changed, replaced, added or gone")
  func fresh() throws {
    let directory = try TestDirectory()
    let files = ScriptFiles(settleSeconds: -10)
    try directory.write("one", to: "tree/10-a")
    let tree = directory.path + "/tree"
    let path = tree + "/10-a"
    func read() throws -> String { String(decoding: try files.read(path, limit: 100), as: UTF8.self) }
    #expect(try read() == "one" && read() == "one")
    try directory.write("longer", to: "tree/10-a")
    #expect(try read() == "longer")
    try directory.write("others", to: "other")
    #expect(rename(directory.path + "/other", path) == 0)
    #expect(try read() == "others")
    #expect(files.regularFiles(in: tree) == [path])
    try FileManager.default.createDirectory(atPath: tree + "/30-directory", withIntermediateDirectories: true)
    symlink("../later", tree + "/20-link")
    #expect(files.regularFiles(in: tree) == [path])
    // What a link leads to may come without the directory of the link changing.
    try directory.write("behind the link", to: "later")
    #expect(files.regularFiles(in: tree) == [path, tree + "/20-link"])
    #expect(try files.read(tree + "/20-link", limit: 100) == Array("behind the link".utf8))
    unlink(path)
    #expect(files.regularFiles(in: tree) == [tree + "/20-link"])
    #expect(throws: ApplianceError.self) { try files.read(path, limit: 100) }
    #expect(files.regularFiles(in: directory.path + "/nowhere").isEmpty)
  }

  @Test("are refused where they are no regular files or too large, without waiting for anyone")
  func hostile() throws {
    let directory = try TestDirectory()
    let files = ScriptFiles()
    let pipe = directory.path + "/10-pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: ApplianceError.self) { try files.read(pipe, limit: 100) }
    #expect(throws: ApplianceError.self) { try files.read("/dev/zero", limit: 100) }
    try directory.write(String(repeating: "x", count: 101), to: "10-large")
    let error = #expect(throws: ApplianceError.self) { try files.read(directory.path + "/10-large", limit: 100) }
    #expect(error?.message.contains("more than 100 bytes") == true)
  }
}
