//! isthmus-tidy
