import Testing

@testable import Provisioner

@Suite("Names and patterns")
struct NamingTests {
  @Test("A pattern names its first node 0 and fills up with zeros")
  func names() throws {
    let pattern = try #require(NamePattern("n####"))
    #expect(pattern.name(0) == "n0000" && pattern.name(42) == "n0042" && pattern.name(12345) == "n12345")
    #expect(pattern.number(of: "n0042") == 42 && pattern.number(of: "n12345") == 12345)
    #expect(
      pattern.number(of: "n42") == nil && pattern.number(of: "m0042") == nil && pattern.number(of: "n00x2") == nil)
    let framed = try #require(NamePattern("rack1-##-ib"))
    #expect(framed.name(7) == "rack1-07-ib" && framed.number(of: "rack1-07-ib") == 7)
  }

  @Test(
    "A pattern without one run of # or with names that are no host names is none",
    arguments: ["", "n", "n#x#", "-#", "n_#", "#."])
  func noPattern(text: String) { #expect(NamePattern(text) == nil) }

  @Test("Bracket patterns stand for the names that Perceus's did")
  func brackets() throws {
    guard case .names(let names) = try NodePattern("n00[00-02,97,099-101]").kind else {
      Issue.record("no names")
      return
    }
    #expect(names == ["n0000", "n0001", "n0002", "n0097", "n00099", "n00100", "n00101"])
    #expect(try NodePattern("r[1-2]n[1-2]").kind == .names(["r1n1", "r1n2", "r2n1", "r2n2"]))
    #expect(try NodePattern("n1*").kind == .wildcards(["n1*"]))
    #expect(try NodePattern("@gpu").kind == .group("gpu"))
  }

  @Test(
    "A malformed pattern is refused with a reason",
    arguments: ["n[1", "n1]", "n[]", "n[a-b]", "n[5-1]", "n[1-]", "n[0-999999999]", "n[1-1000][1-1000]"])
  func malformed(text: String) {
    #expect(throws: ApplianceError.self) { try NodePattern(text) }
  }

  @Test("Wildcards fit as a shell's do, also when they have to step back")
  func wildcards() {
    #expect(
      NodePattern.matches("n1000", "n1*") && NodePattern.matches("n1", "n1*") && !NodePattern.matches("n2", "n1*"))
    #expect(
      NodePattern.matches("abcabd", "*abd") && NodePattern.matches("n0001", "n???1") && NodePattern.matches("x", "*"))
    #expect(!NodePattern.matches("abc", "ab") && !NodePattern.matches("", "?") && NodePattern.matches("", "*"))
  }

  @Test("States are words of lower-case letters, digits, - and _")
  func states() {
    for name in ["init", "ready", "burn-in", "x_1"] { #expect(NodeName.isValidState(name)) }
    for name in ["", "Init", "../etc", "a/b", "1st", "a b", String(repeating: "a", count: 33)] {
      #expect(!NodeName.isValidState(name))
    }
  }
}
