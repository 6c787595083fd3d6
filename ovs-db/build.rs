//! Generates the typed columns of the vswitch schema. The generator is the crate's own: `src/codegen.rs`, with the modules
//! that it reads schemas by.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "the modules have more than a generator needs")]

#[path = "src/codegen.rs"]
mod codegen;
#[path = "src/data/mod.rs"]
mod data;
#[path = "src/error.rs"]
mod error;
#[path = "src/json/mod.rs"]
mod json;
#[path = "src/schema.rs"]
mod schema;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const SCHEMA: &str = "schema/vswitch.ovsschema";

fn main() -> Result<(), Box<dyn Error>> {
    for file in [SCHEMA, "src/codegen.rs", "src/data", "src/error.rs", "src/json", "src/schema.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let schema = schema::Schema::from_json(&json::parse(&fs::read(SCHEMA)?)?)?;
    let target = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&target).join("vswitch.rs"), codegen::rust(&schema, "crate"))?;
    Ok(())
}
