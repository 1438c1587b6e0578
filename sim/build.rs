//! In the simulation build, calls for the real clock and for entropy go through `interposed.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(madsim)");
    if std::env::var_os("CARGO_CFG_MADSIM").is_none() {
        return;
    }
    for call in ["clock_gettime", "gettimeofday", "getrandom", "getentropy"] {
        println!("cargo:rustc-link-arg=-Wl,--wrap={call}");
    }
}
