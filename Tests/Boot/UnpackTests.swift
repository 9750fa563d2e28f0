import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("Unpacking from a real appliance", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct UnpackTests {
  @Test("gives the tree that GNU tar gives, in at most 64 MiB of memory", .timeLimit(.minutes(40)))
  func whole() async throws {
    try await withAppliance { site, appliance in
      let (blob, index) = try await rootParts(appliance)
      let tree = site.directory + "/ours"
      let result = try await site.server.command(
        Appliance.nodeExecutable, "unpack", Site.serverAddress.description, blob, index, tree
      ).run(timeout: .seconds(300)).check()
      let memory = try #require(result.output.firstMatch(of: /(\d+) MiB of memory/).flatMap { Int($0.1) })
      #expect(memory <= 64, "\(result.output)")
      #expect(result.output.contains("over 4 connections"))
      try await Command(
        "sh", "-euc", "mkdir $0; tar --numeric-owner -C $0 -xpf $1", site.directory + "/theirs",
        try Cache.debianTree("bookworm")
      ).run(timeout: .seconds(300)).check()
      // A directory's size is its file system's own affair.
      let listing = """
        cd "$0"
        find . -type d -printf '%P %y %m %U %G %T@\\n' -o -printf '%P %y %m %U %G %n %s %T@ %l\\n'
        find . -type f -exec sha256sum {} +
        """
      let ours = try await Command("sh", "-c", listing, tree).run(timeout: .seconds(120)).check().output
      let theirs = try await Command("sh", "-c", listing, site.directory + "/theirs").run(timeout: .seconds(120))
        .check().output
      let differences = Set(ours.split(separator: "\n")).symmetricDifference(theirs.split(separator: "\n"))
      #expect(differences.isEmpty, "\(differences.sorted().prefix(20))")
      #expect(ours.count { $0 == "\n" } > 5000)
    }
  }

  @Test("takes no more memory for a tree of 2 GiB with many small files and hard links", .timeLimit(.minutes(40)))
  func large() async throws {
    try await withAppliance { site, appliance in
      let tree = site.directory + "/tree"
      try await Command(
        "sh", "-euc",
        """
        mkdir $0; tar --numeric-owner -C $0 -xpf $1; cd $0/opt
        mkdir -p ../etc/perseid; echo 'root: { modes: ram }' > ../etc/perseid/capsule.yaml
        perl -e '
          for $d (1..4000) {
            mkdir "d$d" or die;
            for $f (1..15) {
              open(F, ">", "d$d/f$f") or die; print F "$d $f\n" x 40; close(F);
              link("d$d/f$f", "d$d/another-name-of-$f") or die;
            }
          }'
        for number in 1 2 3; do cp -a ../usr copy$number; done
        truncate -s 900M zeros
        """, tree, try Cache.debianTree("bookworm")
      ).run(timeout: .seconds(300)).check()
      try await appliance.run("vnfs", "import", tree, "--name", "large", "--yes", timeout: .seconds(900))
      let (blob, index) = try await rootParts(appliance, of: "large")
      let ours = site.directory + "/ours"
      let result = try await site.server.command(
        Appliance.nodeExecutable, "unpack", Site.serverAddress.description, blob, index, ours
      ).run(timeout: .seconds(600)).check()
      let mebibytes = try #require(result.output.firstMatch(of: /(\d+) MiB in/).flatMap { Int($0.1) })
      #expect(mebibytes >= 2000)
      let memory = try #require(result.output.firstMatch(of: /(\d+) MiB of memory/).flatMap { Int($0.1) })
      #expect(memory <= 64, "\(result.output)")
      let names = try await Command(
        "sh", "-euc", "cat $0/opt/d4000/another-name-of-15 | wc -l; stat -c %h $0/opt/d1/f1", ours
      ).run(timeout: .seconds(60)).check().output
      #expect(names == "40\n2\n")
    }
  }
}
